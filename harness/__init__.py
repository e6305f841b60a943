"""Reference experiment harness for blind demodulation with generative priors.

The theory is P. Hand and B. Joshi, "Global Guarantees for Blind Demodulation with Generative
Priors", NeurIPS 2019 (arXiv 1905.12576), called "the paper" throughout; equation and theorem
numbers are the paper's.  This table is the only place where symbols are introduced.

====================  ============================  =============================================
paper                 code                          meaning
====================  ============================  =============================================
G(1), G(2)            ``G1``, ``G2``                ReLU generators R^n -> R^ell and R^p -> R^ell
d, s                  ``d``, ``s``                  their depths (``G1.depth``, ``G2.depth``)
n, p, ell             ``n``, ``p``, ``ell``         latent dimensions and signal length
n_i                   ``G.widths[i]``               widths n = n_0, n_1, ..., n_d = ell
W_i                   ``G.weights[i - 1]``          weights of layer i, shape (n_i, n_{i-1})
W_i x_{i-1}           ``G.preactivations(h)``       inputs of the ReLUs of layer i; x_0 = h
Lambda_{+,h}          ``G.Lambda(h)``               linear map of G at h: G(h) = Lambda h
h, m; h_0, m_0        ``h``, ``m``; ``h0``, ...     latent codes and the truth; starts ``h_init``
y_0                   ``P.y0``                      observation G1(h0) * G2(m0), entrywise
f(h, m)               ``P.loss(h, m)``              1/2 || G1(h) * G2(m) - y0 ||^2
D_v f                 ``P.directional_derivative``  one-sided directional derivative
g_{1,(h,m)}, ...      ``P.gradients(h, m)``         partial gradients (g1, g2) of f
K                     (``P.loss_at_zero``)          h = 0 or m = 0; there f = 1/2 ||y0||^2
r                     ``r``                         ||h|| ||m||, the scale that f sees
F(u, v)               ``torus_profile``             profile: least f over r along directions u, v
g(theta)              ``angle_map``                 angle between relu(W x) and relu(W y), expected
theta_i, phi_i        ``angles(theta, d)``          angle of h to h0 (m to m0) after i angle maps
xi_d, zeta_d          ``xi_zeta(theta, d)``         xi_d cos theta_0 + zeta_d = cos theta_d
rho_d                 ``rho(d)``                    zeta_d at theta_0 = pi: scale of spurious ones
htilde_0, mtilde_0    (``expected_gradients``)      xi_d h0 + zeta_d ||h0|| hhat, and the same of m
c                     ``landscape_scale``           alpha / (2^(d+s) ell), scale of E f, t_1, t_2
A, B                  (``expected_loss``)           ||h|| ||m|| and ||h0|| ||m0||
E f                   ``expected_loss``             c/2 [A^2 + B^2 - 2 A B cos theta_d cos phi_s]
t_1, t_2              ``expected_gradients``        its partial gradients
Q_{x,y}, M            ``Q(x, y)``, ``swap``         expected Gram matrix of the rows active at x, y
alpha                 ``alpha``                     scaling left by the truncated last layers
A_{epsilon,(h,m)}     ``P.neighbourhood``           least epsilon of the set that contains a point
epsilon               ``epsilon``                   (tolerances are called ``rtol`` and ``atol``)
eta, kappa            ``step``, ``kappa``           step size and its scale-free version
====================  ============================  =============================================

Theorem 2 of the paper is the theorem for Gaussian weights, with its probability; Theorem 3 is the
deterministic one, for all weights that satisfy the two distribution conditions.

In `conditions` W is one matrix and (B, C) a pair, with rows w_i, b_i, c_i and unit rows u_i =
w_i/||w_i||; the signs of w_i.x and w_i.y gate the rows (h, x and m, y in the joint condition), and
v is an eigenvector of the residual R, measured minus expected.  In `mnist` y is an image, x its
digit and w its distortion, elsewhere G1(h) and G2(m); (u, v) are the coordinates of a pixel.

A branch of the four hyperbolas is a pair of signs: ``(1, 1)`` is the true one, through (h0, m0);
``-1`` replaces h0 by -rho_d h0, or m0 by -rho_s m0 (``branch_name`` writes "-+").  The factor c > 0
of an orbit (c h, m/c) is unrelated to the scale c above.  Inside the landscape X = <y0, a*b> and
Y = ||a*b||^2 with a = G1(u), b = G2(v), so that F = ||y0||^2 / 2 - X^2 / (2 Y); S is the numerator
of a slope of F.  In shapes I and J count the points of two axes, R those of one list.

Arrays are float64; the last axis is the coordinate and leading axes ("...") broadcast.
"""

__version__ = "0.2.0"
