"""Reference experiment harness for blind demodulation with generative priors.

The theory is P. Hand and B. Joshi, "Global Guarantees for Blind Demodulation with Generative
Priors", NeurIPS 2019 (arXiv 1905.12576), called "the paper" throughout; equation and theorem
numbers are the paper's.  This table is the only place where symbols are introduced.

====================  ==========================  ===============================================
paper                 code                        meaning
====================  ==========================  ===============================================
G(1), G(2)            ``G1``, ``G2``              ReLU generators R^n -> R^ell and R^p -> R^ell
d, s                  ``d``, ``s``                their depths (``G1.depth``, ``G2.depth``)
n, p, ell             ``n``, ``p``, ``ell``       latent dimensions and signal length
n_i                   ``G.widths[i]``             widths n = n_0, n_1, ..., n_d = ell
W_i                   ``G.weights[i - 1]``        weights of layer i, shape (n_i, n_{i-1})
Lambda_{+,h}          ``G.Lambda(h)``             linear map of G at h: G(h) = Lambda h
h, m; h_0, m_0        ``h``, ``m``; ``h0``, ...   latent codes and the truth; starts ``h_init``
y_0                   ``P.y0``                    observation G1(h0) * G2(m0), entrywise
f(h, m)               ``P.loss(h, m)``            1/2 || G1(h) * G2(m) - y0 ||^2
D_v f                 ``P.directional_derivative``  one-sided directional derivative
g_{1,(h,m)}, ...      ``P.gradients(h, m)``       partial gradients (g1, g2) of f
t_1, t_2              ``expected_gradients``      their idealised counterparts
g(theta)              ``angle_map``               angle between relu(W x) and relu(W y), expected
rho_d                 ``rho(d)``                  scale of the spurious hyperbolas
Q_{x,y}, M            ``Q(x, y)``, ``swap``       expected Gram matrix of the rows active at x, y
alpha                 ``alpha``                   scaling left by the truncated last layers
A_{epsilon,(h,m)}     ``P.neighbourhood``         least epsilon of the set that holds a point
epsilon               ``epsilon``                 (tolerances are called ``rtol`` and ``atol``)
eta, kappa            ``step``, ``kappa``         step size and its scale-free version
====================  ==========================  ===============================================

A branch of the four hyperbolas is a pair of signs: ``(1, 1)`` is the true one, through (h0, m0);
``-1`` replaces h0 by -rho_d h0, or m0 by -rho_s m0.  Arrays are float64; the last axis is the
coordinate and leading axes ("...") broadcast.
"""

__version__ = "0.2.0"
