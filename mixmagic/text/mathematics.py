r"""Safe formulas: TeX rebuilt from an allow-list of commands and environments.

Front ends typeset the formulas of all outputs in one page, and a PDF export passes them to TeX. So
no command is allowed that defines, loads, reads, writes, links, styles, or takes arbitrary sizes.
"""

from __future__ import annotations

import re

_LONGEST = 4000  # characters
_MOST_BRACES, _MOST_ENVIRONMENTS = 30, 6  # nested
_MOST_ROWS = 60

_COMMANDS = frozenset(
    """
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa varkappa
    lambda mu nu xi omicron pi varpi rho varrho sigma varsigma tau upsilon phi varphi chi
    psi omega digamma Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega varGamma
    varDelta varTheta varLambda varXi varPi varSigma varUpsilon varPhi varPsi varOmega

    aleph beth gimel daleth hbar hslash ell wp Re Im imath jmath partial nabla infty
    emptyset varnothing complement eth Bbbk Finv Game mho angle measuredangle sphericalangle
    degree prime backprime

    pm mp times div cdot cdotp ast star circ bullet cap cup uplus sqcap sqcup vee wedge lor land
    setminus smallsetminus wr diamond bigtriangleup bigtriangledown triangleleft
    triangleright oplus ominus otimes oslash odot bigcirc dagger ddagger amalg ltimes rtimes
    leftthreetimes rightthreetimes dotplus centerdot circledast circledcirc circleddash
    boxplus boxminus boxtimes boxdot divideontimes intercal barwedge veebar doublebarwedge
    curlyvee curlywedge Cup Cap lnot neg

    sum prod coprod int iint iiint iiiint idotsint oint bigcap bigcup bigsqcup biguplus
    bigvee bigwedge bigoplus bigotimes bigodot intop smallint

    lt gt le ge leq geq leqq geqq leqslant geqslant ne neq equiv sim simeq approx approxeq
    cong doteq doteqdot propto varpropto asymp bowtie models vdash dashv Vdash vDash Vvdash
    perp parallel nparallel mid nmid prec succ preceq succeq precsim succsim subset supset
    subseteq supseteq subsetneq supsetneq subseteqq supseteqq nsubseteq nsupseteq sqsubset
    sqsupset sqsubseteq sqsupseteq in ni owns notin not ll gg lll ggg lesssim gtrsim
    lessapprox gtrapprox lessgtr gtrless nless ngtr nleq ngeq nleqq ngeqq nvdash nVdash
    nvDash nVDash nsim ncong triangleq bumpeq
    Bumpeq circeq eqcirc backsim thicksim thickapprox between pitchfork trianglelefteq
    trianglerighteq vartriangleleft vartriangleright coloneqq eqqcolon colon Subset Supset
    lneq gneq lneqq gneqq risingdotseq fallingdotseq smile frown therefore because

    to gets leftarrow rightarrow leftrightarrow Leftarrow Rightarrow Leftrightarrow
    longleftarrow longrightarrow longleftrightarrow Longleftarrow Longrightarrow
    Longleftrightarrow iff implies impliedby mapsto longmapsto uparrow downarrow updownarrow
    Uparrow Downarrow Updownarrow nearrow searrow swarrow nwarrow hookleftarrow
    hookrightarrow leftharpoonup leftharpoondown rightharpoonup rightharpoondown
    rightleftharpoons leftrightharpoons leftrightarrows rightleftarrows leftleftarrows
    rightrightarrows upuparrows downdownarrows rightsquigarrow leadsto twoheadrightarrow
    twoheadleftarrow rightarrowtail leftarrowtail nleftarrow nrightarrow nLeftarrow
    nRightarrow nleftrightarrow nLeftrightarrow curvearrowleft curvearrowright
    circlearrowleft circlearrowright looparrowleft looparrowright multimap xrightarrow
    xleftarrow Lsh Rsh

    forall exists nexists top bot surd flat natural sharp clubsuit diamondsuit heartsuit
    spadesuit checkmark maltese square blacksquare lozenge blacklozenge triangle
    triangledown blacktriangle bigstar S yen dots ldots cdots vdots ddots dotsb dotsc dotsi
    dotsm dotso backslash vert Vert lvert rvert lVert rVert langle rangle lfloor rfloor
    lceil rceil lgroup rgroup lmoustache rmoustache lbrace rbrace lbrack rbrack ulcorner
    urcorner llcorner lrcorner

    arccos arcsin arctan arg cos cosh cot coth csc deg det dim exp gcd hom inf injlim ker lg
    lim liminf limsup ln log max min Pr projlim sec sin sinh sup tan tanh varinjlim
    varprojlim varliminf varlimsup bmod pmod mod pod

    frac dfrac tfrac cfrac binom dbinom tbinom sqrt root over choose atop brace brack
    stackrel overset underset substack sideset overline underline overbrace underbrace
    overrightarrow overleftarrow overleftrightarrow underrightarrow underleftarrow widehat
    widetilde hat check breve acute grave tilde bar vec dot ddot dddot ddddot mathring boxed
    left right middle big Big bigg Bigg bigl Bigl biggl Biggl bigr Bigr biggr Biggr bigm
    Bigm biggm Biggm limits nolimits operatorname phantom hphantom vphantom smash mathop
    mathbin mathrel mathord mathopen mathclose mathpunct mathinner cancel bcancel xcancel

    mathrm mathbf mathit mathsf mathtt mathcal mathbb mathfrak mathscr mathnormal boldsymbol
    pmb text textrm textbf textit textsf texttt textnormal mbox rm bf it sf tt cal
    displaystyle textstyle scriptstyle scriptscriptstyle tiny scriptsize small normalsize
    large Large

    quad qquad enspace thinspace negthinspace negmedspace negthickspace nobreakspace hline
    hfill nonumber notag cr newline
    """.split()  # noqa: SIM905  # a list literal would take 600 lines
)
# Each environment with the pattern of its argument: an array's columns could be any TeX.
_ENVIRONMENTS = dict.fromkeys(
    """
    Bmatrix Vmatrix align align* aligned bmatrix cases eqnarray eqnarray* equation equation*
    flalign flalign* gather gather* gathered matrix multline multline* pmatrix rcases
    smallmatrix split vmatrix
    """.split(),  # noqa: SIM905
    re.compile(""),
)
_ENVIRONMENTS["array"] = re.compile(r"\{[lcr| ]{1,30}\}")
_ENVIRONMENTS["subarray"] = re.compile(r"\{[lcr]\}")
_ENVIRONMENTS |= dict.fromkeys(("alignat", "alignat*", "alignedat"), re.compile(r"\{\d\d?\}"))
# With a space, since JupyterLab would take a following brace for an escaped one.
_ROW = "\\\\ "
_BRACKET = re.compile(r"\s*\[")
_SYMBOLS = frozenset(" ,;:!{}|%#$&_\n")
_TOKEN = re.compile(
    r"\\(?:begin|end)\{(?P<environment>[A-Za-z]+\*?)\}|\\(?P<command>[A-Za-z]+)"
    # The star and the height of a row only affect its position; they are dropped.
    r"|\\\\(?P<row>\*?(?:\[-?\d*\.?\d*(?:pt|em|ex|mm|cm|in|mu|px)\])?)|\\(?P<symbol>[\s\S])"
    r"|(?P<brace>[{}])|(?P<text>[^\\{}]+)"
)

# Syntax of Markdown or HTML, and control and invisible characters.
_FOREIGN = re.compile(
    # `^^5c` is a backslash in TeX; nbconvert reacts to `data-cite` anywhere.
    r"[`@%~#\"$]|\^\s*\^|://|www\.|data-cite"
    r"|[^\t\n -~\xa1-\xac\xae-\u1fff\u2010-\u2027\u2030-\u205e\u2070-\ud7ff"
    r"\ue000-\ufefe\uff00-\uffef\U00010000-\U000dffff]",
    re.IGNORECASE,
)
# These get a space inside, which TeX ignores, so that no parser sees a tag, entity or link.
_JOINED = re.compile(r"<(?=[A-Za-z/!?])|&(?=[A-Za-z#])|\](?=\()|!(?=\[)")
_WORD = re.compile(r"[A-Za-z]{2}")
_SIGN = re.compile(r"\\[A-Za-z]|[_^=]")


def looks_like_mathematics(body: str, *, display: bool) -> bool:
    r"""Return True if the text between `\(` and `\)`, or `\[` and `\]`, is a formula.

    Markdown's escaped brackets look the same: `\(optional\)`, `\[1\]`.

    Example:
        >>> looks_like_mathematics("x, y", display=False), looks_like_mathematics("1", display=True)
        (True, False)
    """
    return bool(_SIGN.search(body)) or not (display or _WORD.search(body))


def formula(body: str, *, in_table: bool = False) -> str | None:
    r"""Return a formula on one line; `None` if a part of it is not allowed.

    Args:
        body: TeX, without its delimiters.
        in_table: True to write it without vertical bars.

    Example:
        >>> formula("a<b"), formula(r"\def\x{}")
        ('a< b', None)
    """
    if len(body) > _LONGEST or not body.strip():
        return None
    try:
        return _FormulaWriter(body, in_table=in_table).write()
    except _NotAllowedError:
        return None


class _NotAllowedError(Exception):
    """A part of the formula is not allowed."""


class _FormulaWriter:
    """Writes a formula anew, token by token."""

    def __init__(self, body: str, *, in_table: bool) -> None:
        self._body, self._position, self._in_table = body, 0, in_table
        self._environments: list[str] = []
        self._braces = self._rows = 0

    def write(self) -> str:
        """Return the formula."""
        parts: list[str] = []
        while self._position < len(self._body):
            token = self._next(_TOKEN)
            part: str = getattr(self, f"_{token.lastgroup}")(token)
            _require(not (self._in_table and "|" in part))
            parts.append(part)
        _require(not self._braces and not self._environments)
        # A backslash or a dollar at the end would change the closing delimiter.
        while parts[-1] == _ROW or parts[-1].isspace():
            _require(len(parts) > 1)
            parts.pop()
        if parts[-1] == r"\$":
            parts.append("{}")
        return " ".join("".join(parts).split())

    def _next(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Return the match of a required pattern at the current position."""
        match = pattern.match(self._body, self._position)
        if match is None:
            raise _NotAllowedError
        self._position = match.end()
        return match

    def _environment(self, token: re.Match[str]) -> str:
        name = token["environment"]
        _require(name in _ENVIRONMENTS)
        if token[0].startswith(r"\end"):
            _require(bool(self._environments) and self._environments.pop() == name)
            return token[0]
        self._environments.append(name)
        _require(len(self._environments) <= _MOST_ENVIRONMENTS)
        return token[0] + self._next(_ENVIRONMENTS[name])[0]

    def _command(self, token: re.Match[str]) -> str:
        _require(token["command"] in _COMMANDS)
        return self._row(token) if token["command"] in ("cr", "newline") else token[0]

    def _row(self, token: re.Match[str]) -> str:
        self._rows += 1
        _require(self._rows <= _MOST_ROWS)
        # TeX would take a bracket after spaces for the height of the row.
        return f"{_ROW}{{}}" if _BRACKET.match(self._body, self._position) else _ROW

    def _symbol(self, token: re.Match[str]) -> str:
        _require(token["symbol"] in _SYMBOLS)
        # A space at the end could be stripped, and its backslash would escape the delimiter.
        return r"\:" if token["symbol"].isspace() else token[0]

    def _brace(self, token: re.Match[str]) -> str:
        self._braces += 1 if token[0] == "{" else -1
        _require(0 <= self._braces <= _MOST_BRACES)
        return token[0]

    def _text(self, token: re.Match[str]) -> str:
        _require(not _FOREIGN.search(token[0]))
        text = _JOINED.sub(r"\g<0> ", token[0])
        return text.replace("|", r"\vert ") if self._in_table else text


def _require(allowed: bool) -> None:
    """Reject the formula unless `allowed`."""
    if not allowed:
        raise _NotAllowedError
