r"""What may stand in a formula, for whoever looks at what has become of an answer.

Kept apart from the sanitizer's own list: what that one lets through must be on this one, too.
"""

from __future__ import annotations

import re

# Those that draw signs, move no sign far, name nothing, and load, read and write nothing.
COMMANDS = frozenset(
    """
    acute aleph alpha amalg angle approx approxeq arccos arcsin arctan arg ast asymp atop
    backprime backsim backslash bar barwedge Bbbk bcancel because beta beth between bf Big big
    bigcap bigcirc bigcup Bigg bigg Biggl biggl Biggm biggm Biggr biggr Bigl bigl Bigm bigm
    bigodot bigoplus bigotimes Bigr bigr bigsqcup bigstar bigtriangledown bigtriangleup biguplus
    bigvee bigwedge binom blacklozenge blacksquare blacktriangle bmod boldsymbol bot bowtie
    boxdot boxed boxminus boxplus boxtimes brace brack breve bullet Bumpeq bumpeq cal cancel Cap
    cap cdot cdots centerdot cfrac check checkmark chi choose circ circeq circlearrowleft
    circlearrowright circledast circledcirc circleddash clubsuit colon coloneqq complement cong
    coprod cos cosh cot coth cr csc Cup cup curlyvee curlywedge curvearrowleft curvearrowright
    dagger daleth dashv dbinom ddagger ddddot dddot ddot ddots deg degree Delta delta det dfrac
    diamond diamondsuit digamma dim displaystyle div divideontimes dot doteq doteqdot dotplus
    dots dotsb dotsc dotsi dotsm dotso doublebarwedge Downarrow downarrow downdownarrows ell
    emptyset enspace epsilon eqcirc eqqcolon equiv eta eth exists exp fallingdotseq Finv flat
    forall frac frown Game Gamma gamma gcd ge geq geqq geqslant gets gg ggg gimel gneq gneqq
    grave gt gtrapprox gtrless gtrsim hat hbar heartsuit hfill hline hom hookleftarrow
    hookrightarrow hphantom hslash idotsint iff iiiint iiint iint Im imath impliedby implies in
    inf infty injlim int intercal intop iota it jmath kappa ker Lambda lambda land langle Large
    large lbrace lbrack lceil ldots le leadsto left Leftarrow leftarrow leftarrowtail
    leftharpoondown leftharpoonup leftleftarrows Leftrightarrow leftrightarrow leftrightarrows
    leftrightharpoons leftthreetimes leq leqq leqslant lessapprox lessgtr lesssim lfloor lg
    lgroup lim liminf limits limsup ll llcorner lll lmoustache ln lneq lneqq lnot log
    Longleftarrow longleftarrow Longleftrightarrow longleftrightarrow longmapsto Longrightarrow
    longrightarrow looparrowleft looparrowright lor lozenge lrcorner Lsh lt ltimes lVert lvert
    maltese mapsto mathbb mathbf mathbin mathcal mathclose mathfrak mathinner mathit mathnormal
    mathop mathopen mathord mathpunct mathrel mathring mathrm mathscr mathsf mathtt max mbox
    measuredangle mho mid middle min mod models mp mu multimap nabla natural ncong ne nearrow
    neg negmedspace negthickspace negthinspace neq newline nexists ngeq ngtr ni nLeftarrow
    nleftarrow nLeftrightarrow nleftrightarrow nleq nless nmid nobreakspace nolimits nonumber
    normalsize not notag notin nparallel nRightarrow nrightarrow nsim nsubseteq nsupseteq nu
    nwarrow odot oint Omega omega omicron ominus operatorname oplus oslash otimes over overbrace
    overleftarrow overleftrightarrow overline overrightarrow overset owns parallel partial perp
    phantom Phi phi Pi pi pitchfork pm pmb pmod pod Pr prec preceq precsim prime prod projlim
    propto Psi psi qquad quad rangle rbrace rbrack rceil Re rfloor rgroup rho right Rightarrow
    rightarrow rightarrowtail rightharpoondown rightharpoonup rightleftarrows rightleftharpoons
    rightrightarrows rightsquigarrow rightthreetimes risingdotseq rm rmoustache root Rsh rtimes
    rVert rvert S scriptscriptstyle scriptsize scriptstyle searrow sec setminus sf sharp sideset
    Sigma sigma sim simeq sin sinh small smallint smallsetminus smash smile spadesuit
    sphericalangle sqcap sqcup sqrt sqsubset sqsubseteq sqsupset sqsupseteq square stackrel star
    Subset subset subseteq subseteqq subsetneq substack succ succeq succsim sum sup Supset
    supset supseteq supseteqq supsetneq surd swarrow tan tanh tau tbinom text textbf textit
    textnormal textrm textsf textstyle texttt tfrac therefore Theta theta thickapprox thicksim
    thinspace tilde times tiny to top triangle triangledown triangleleft trianglelefteq
    triangleq triangleright trianglerighteq tt twoheadleftarrow twoheadrightarrow ulcorner
    underbrace underleftarrow underline underrightarrow underset Uparrow uparrow Updownarrow
    updownarrow uplus Upsilon upsilon upuparrows urcorner varDelta varepsilon varGamma varinjlim
    varkappa varLambda varliminf varlimsup varnothing varOmega varPhi varphi varPi varpi
    varprojlim varpropto varPsi varrho varSigma varsigma varTheta vartheta vartriangleleft
    vartriangleright varUpsilon varXi Vdash vDash vdash vdots vec vee veebar Vert vert vphantom
    Vvdash wedge widehat widetilde wp wr xcancel Xi xi xleftarrow xrightarrow yen zeta
    """.split()  # noqa: SIM905
)
ENVIRONMENTS = frozenset(
    """
    Bmatrix Vmatrix align align* alignat alignat* aligned alignedat array bmatrix cases eqnarray
    eqnarray* equation equation* flalign flalign* gather gather* gathered matrix multline multline*
    pmatrix rcases smallmatrix split subarray vmatrix
    """.split()  # noqa: SIM905
)
_COMMAND = re.compile(r"\\(?:(begin|end)\{([^}]*)\}|([A-Za-z]+)|([\s\S]|\Z))")
_COLUMNS = re.compile(
    r"\\begin\{(?:array|alignat\*?|alignedat|subarray)\}(?!\{[lcr| ]{1,30}\}|\{\d\d?\})"
)
_ROW = re.compile(r"\\\\\s*\*?\s*\[\s*-?\d{3,}[^\]]*\]")
_SYMBOLS = " ,;:!{}|%#$&_\\\n"


def foreign(tex: str) -> list[str]:
    """Return the parts of a formula that are not on the allow-list."""
    found = []
    for match in _COMMAND.finditer(tex):
        _, environment, command, symbol = match.groups()
        if environment is not None and environment not in ENVIRONMENTS:
            found.append(f"environment {environment}")
        if command and command not in COMMANDS:
            found.append(f"\\{command}")
        if symbol is not None and (symbol not in _SYMBOLS or not symbol):
            found.append(f"\\{symbol}")
    found += [f"columns {each}" for each in _COLUMNS.findall(tex)]
    found += [f"row {each}" for each in _ROW.findall(tex)]
    bare = _COMMAND.sub("", tex)
    found += [f"sign {each}" for each in re.findall(r"\^\^|[%~@#`\"]|://", bare)]
    return found
