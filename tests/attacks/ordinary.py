r"""Formulas as people write them: all of them are to be typeset as they are."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

# By subject, one a line; each between any delimiters.
_FORMULAS = r"""
E = mc^2
a^2 + b^2 = c^2
x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}
e^{i\pi} + 1 = 0
\sum_{k=1}^{n} k = \frac{n(n+1)}{2}
\prod_{i=1}^{n} x_i \le \left(\frac{1}{n}\sum_{i=1}^n x_i\right)^n
\int_0^\infty e^{-x^2}\,dx = \frac{\sqrt{\pi}}{2}
\lim_{n\to\infty}\left(1+\frac{1}{n}\right)^n = e
f'(x) = \lim_{h \to 0} \frac{f(x+h) - f(x)}{h}
\frac{\partial^2 u}{\partial t^2} = c^2 \nabla^2 u
\nabla \times \mathbf{E} = -\frac{\partial \mathbf{B}}{\partial t}
\oint_{\partial\Omega} \mathbf{E}\cdot d\mathbf{S} = \frac{Q}{\varepsilon_0}
i\hbar\frac{\partial}{\partial t}\Psi(\mathbf{r},t) = \hat{H}\Psi(\mathbf{r},t)
\langle \psi | \hat{A} | \psi \rangle
H = -\sum_{x} p(x) \log_2 p(x)
P(A \mid B) = \frac{P(B \mid A)\,P(A)}{P(B)}
\mathbb{E}[X] = \sum_{i} x_i\,p_i
\operatorname{Var}(X) = \mathbb{E}\left[(X - \mu)^2\right]
p(x) = \frac{1}{\sqrt{2\pi\sigma^2}} \exp\left(-\frac{(x-\mu)^2}{2\sigma^2}\right)
\hat{\beta} = (X^\top X)^{-1} X^\top y
\sigma(z)_i = \frac{e^{z_i}}{\sum_{j=1}^K e^{z_j}}
\mathrm{Attention}(Q, K, V) = \mathrm{softmax}\left(\frac{QK^T}{\sqrt{d_k}}\right)V
\theta_{t+1} = \theta_t - \eta \nabla_\theta J(\theta_t)
\mathcal{L} = -\frac{1}{N}\sum_{i=1}^N \left[ y_i \log \hat{y}_i + (1-y_i)\log(1-\hat{y}_i) \right]
D_{\mathrm{KL}}(P \parallel Q) = \sum_x P(x)\log\frac{P(x)}{Q(x)}
\binom{n}{k} = \frac{n!}{k!\,(n-k)!}
(a+b)^n = \sum_{k=0}^n \binom{n}{k} a^{n-k} b^k
A = \begin{pmatrix} a & b \\ c & d \end{pmatrix}
\det A = \begin{vmatrix} a & b \\ c & d \end{vmatrix} = ad - bc
\begin{bmatrix} 1 & \cdots & 0 \\ \vdots & \ddots & \vdots \\ 0 & \cdots & 1 \end{bmatrix}
|x| = \begin{cases} x & \text{if } x \ge 0 \\ -x & \text{otherwise} \end{cases}
\begin{aligned} a &= b + c \\ &= d + e \end{aligned}
\left\{ \begin{array}{l} x + y = 1 \\ x - y = 0 \end{array} \right.
\begin{array}{cc|c} 1 & 2 & 3 \\ \hline 4 & 5 & 6 \end{array}
\forall \varepsilon > 0 \; \exists \delta > 0 : |x - a| < \delta \implies |f(x) - L| < \varepsilon
A \cup B = \{ x : x \in A \lor x \in B \}
A \setminus B, \quad A \subseteq B, \quad A \cap B = \emptyset
f\colon \mathbb{R} \to \mathbb{R}
x \mapsto x^2
\lfloor x \rfloor \le x < \lceil x \rceil
a \equiv b \pmod{n}
\gcd(a, b) = \gcd(b, a \bmod b)
\pi(x) \sim \frac{x}{\ln x}
\zeta(s) = \sum_{n=1}^\infty \frac{1}{n^s} = \prod_{p} \frac{1}{1-p^{-s}}
\Gamma(z) = \int_0^\infty t^{z-1} e^{-t}\,dt
\mathcal{F}\{f\}(\xi) = \int_{-\infty}^{\infty} f(x) e^{-2\pi i x \xi}\,dx
X_k = \sum_{n=0}^{N-1} x_n e^{-i 2\pi k n / N}
O(n \log n)
T(n) = 2T\left(\frac{n}{2}\right) + O(n)
\Theta(n^2), \Omega(n), o(n)
\vec{F} = m\vec{a}
\mathbf{a} \cdot \mathbf{b} = \|\mathbf{a}\|\,\|\mathbf{b}\| \cos\theta
\lVert x \rVert_2 = \sqrt{\sum_i x_i^2}
\lvert x \rvert \le \lVert x \rVert
\dot{x} = Ax + Bu, \qquad y = Cx + Du
\ddot{\theta} + \frac{g}{l}\sin\theta = 0
S = k_B \ln \Omega
pV = nRT
\Delta G = \Delta H - T\Delta S
\mathrm{2H_2 + O_2 \rightarrow 2H_2O}
\mathrm{pH} = -\log_{10}[\mathrm{H}^+]
v = \frac{\Delta x}{\Delta t}
F = G\frac{m_1 m_2}{r^2}
\lambda = \frac{h}{p}
\Delta x\,\Delta p \ge \frac{\hbar}{2}
R_{\mu\nu} - \frac{1}{2} R g_{\mu\nu} + \Lambda g_{\mu\nu} = \frac{8\pi G}{c^4} T_{\mu\nu}
\gamma = \frac{1}{\sqrt{1 - v^2/c^2}}
\underbrace{a + a + \cdots + a}_{n \text{ times}} = na
\overbrace{x_1, \ldots, x_n}^{n}
\overline{AB} \perp \overline{CD}
\angle ABC = 90^\circ
\triangle ABC \cong \triangle DEF
\sqrt[3]{x^3 + y^3}
x_{i,j}^{(k+1)}
x'' + 2x' + x = 0
{}^{14}_{6}\mathrm{C}
\tilde{x}, \bar{x}, \hat{x}, \check{x}, \breve{x}
\widehat{xyz}, \widetilde{xyz}
\alpha, \beta, \gamma, \delta, \epsilon, \varepsilon, \zeta, \eta, \theta, \vartheta
\aleph_0 < 2^{\aleph_0}
p \land q \iff \neg(\neg p \lor \neg q)
\Gamma \vdash e : \tau
\top, \bot, \models, \vDash
A \xrightarrow{f} B \xleftarrow{g} C
\stackrel{\text{def}}{=}
\overset{!}{=} \underset{x \in X}{\min} f(x)
\max_{x \in [0, 1]} f(x)
\sup_{n \ge 1} a_n, \inf_{n \ge 1} a_n, \limsup_{n\to\infty} a_n
\boxed{x = 42}
\cancel{x} + 5
\displaystyle\sum_{i=1}^n i
\frac{d}{dx}\left[\int_a^x f(t)\,dt\right] = f(x)
\iint_D f(x, y)\,dx\,dy
\iiint_V \rho\,dV
\text{revenue} = \text{price} \times \text{quantity}
\text{cost} = 0.6 \cdot \frac{\text{tokens}}{10^6}
10\% \text{ of } \$5
50\,\mathrm{km/h} \approx 13.9\,\mathrm{m/s}
x \in (0, 1] \cup [2, 3)
a_1, a_2, \dots, a_n
a < b > c, a \ne b
x_{\text{max}} - x_{\text{min}}
y = f(x; \theta) + \epsilon, \quad \epsilon \sim \mathcal{N}(0, \sigma^2)
\mathbf{W} \in \mathbb{R}^{m \times n}
\bigl( (a + b) \bigr) \Big| \biggl[ x \biggr]
\substack{0 < i < m \\ 0 < j < n}
\sum_{\substack{i = 1 \\ i \text{ odd}}}^{n} i
1 + \cfrac{1}{2 + \cfrac{1}{3 + \cfrac{1}{4}}}
\tfrac{1}{2} \dfrac{1}{2}
\mathfrak{g}, \mathscr{L}, \mathcal{O}, \mathsf{T}, \mathtt{x}
\not= \notin \nsubseteq
\ldots \cdots \vdots \ddots
\rightleftharpoons \leftrightarrow \Longrightarrow \hookrightarrow
\infty \partial \nabla \ell \Re \Im \wp
\left.\frac{df}{dx}\right|_{x=0}
\left\lVert \frac{a}{b} \right\rVert
\phantom{x} y \hphantom{z}
x \! y \, z \: a \; b \quad c \qquad d
"""
_ROLE = re.compile(r":math:`([^`]+)`")
_BLOCK = re.compile(r"^( *)\.\. math::[ \t]*(.*)\n((?:\1 +.*\n|\s*\n)*)", re.MULTILINE)


def formulas() -> list[str]:
    """Formulas by hand, and those of the docstrings of NumPy."""
    return [*_FORMULAS.strip().split("\n"), *dict.fromkeys(_documented())]


def _documented() -> Iterator[str]:
    import numpy as np

    for module in (np, np.linalg, np.fft, np.random.Generator, np.polynomial.polynomial):
        for _, member in inspect.getmembers(module):
            text = inspect.getdoc(member) or ""
            yield from (" ".join(tex.split()) for tex in _ROLE.findall(text))
            for _, first, rest in _BLOCK.findall(text):
                for part in re.split(r"\n\s*\n", f"{first}\n{textwrap.dedent(rest)}"):
                    if part.strip() and not part.lstrip().startswith(":"):
                        yield " ".join(part.split())
