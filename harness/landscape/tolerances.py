"""When a computed number counts as zero: every tolerance of the landscape, with its reason.

Two errors decide.  A number computed from exact data carries the rounding of its terms, a few
1e-16 of the sum of their absolute values: its tolerance is a share of that sum, with several digits
of room.  A point at which an iteration ended also carries the error of the iteration, and its
tolerances are larger.

`hunt` and `stationary_points` judge a minimum by one rule: a unit is at a kink by `ON_KINK` (by
`NEAR_KINK` at the end of an iteration), and the minimum is strict if its slopes and its least
curvature exceed `FLAT`.
"""

from harness.network import KINK_RTOL

# --- Kinks -----------------------------------------------------------------------------------

ON_KINK = KINK_RTOL
"""A point placed on a kink: |w.x| <= ON_KINK ||w|| ||x||, x the input of the unit's layer.

The rule of `ReluNetwork.jvp`, for points whose only error is rounding: the angles of `linear_arcs`,
points of a search that stopped at a break.  Over 50,000 kinks of 100 random networks of two and
three layers, the angles of `linear_arcs` missed theirs by 1.1e-15 ||w|| ||x|| at most.
"""

NEAR_KINK = 1e-9
"""A converged point on a kink: |r.h| <= NEAR_KINK ||r|| ||h||, r the unit's effective row.

Here |r.h| / ||r|| is the distance of h from the kink, so the rule compares the distance with the
error of the point.  Newton's method leaves 1e-9 of its length at worst (`STATIONARY`).  A row below
this share of its layer's longest is rounding: its unit is zero all around the point.
"""

SAME_ANGLE = 1e-13
"""Kinks closer than this, in radians, are one kink: rounding splits those of parallel rows."""

PARALLEL = 1e-12
"""Two effective rows are parallel if 1 - |cos| of their angle is below this.

A cosine is known to about 1e-15.  As 1 - |cos| is quadratic, rows 1.4e-6 apart count as parallel.
"""

RANK = 1e-9
"""Unit rows whose matrix has a singular value below this are dependent (as `NEAR_KINK`)."""

# --- Slopes and curvatures -------------------------------------------------------------------

FLAT = 1e-10
"""A slope or a curvature below this share of its natural size is zero, the point degenerate.

The natural size is the sum of the absolute values of the terms (in the census), the largest
curvature, or ||y0||^2 / ||x|| for slopes at a converged point x (in the hunt).  Rounding alone
gives 1e-14 for a few hundred terms; the rest is room for cancellation inside the terms.
"""

STATIONARY = 1e-9
"""Largest relative gradient ||g|| ||x|| / ||y0||^2 of a reported point, least slope followed down.

Newton's method usually ends at `CONVERGED`.  A point that stops improving before is accepted up to
here: f changes with the square of the error, far below its rounding.
"""

CONVERGED = 1e-13
"""Relative gradient at which the polish stops: a hundred times the rounding of g."""

NEWTON_CONVERGED = 1e-12
"""The same for the batched descents, whose ends are polished."""

CONVERGING = 1e-8
"""Relative gradient below which Newton's method has a smooth stationary point at hand.

Half of the digits are right then, and Newton's method doubles them in a step.
"""

# --- The set K -------------------------------------------------------------------------------

ON_K = 1e-11
"""A point with 1 - 2 f / ||y0||^2 below this counts as one of K, where the difference is 0.

The two terms are of size 1 and known to about 1e-14.  The difference is the squared cosine between
y0 and a*b, so that a point this close to K has a*b within 3e-6 of orthogonal to y0.
"""

# --- Identity of points ----------------------------------------------------------------------

SAME_ROOT = 1e-8
"""Smooth points of the census whose angles differ by less, in radians, are one point.

Neighbouring arcs without a kink between them both have it; a double root has half of the digits.
"""

SAME_END = 1e-6
"""Balanced ends of descents closer than this, relative to their length, are one point.

A relative gradient of `CONVERGED` leaves this error where the least curvature is 1e-7 of the
largest.
"""

INSIDE = 1 + 1e-9
"""A root at |z| <= INSIDE belongs to the arc |z| <= 1: its neighbour may round it out as well."""

# --- Polynomials and small matrices ----------------------------------------------------------

ZERO_COEFFICIENT = 1e-15
"""A Bernstein coefficient this small, of a polynomial with largest coefficient 1, is zero."""

SURELY_LARGER = 1 + 1e-12
"""Of two sums of terms >= 0 one is surely the larger if it is so by this factor.

Each sum has a relative error of ell 1e-16 at most: enough for ell = 4,000.
"""

SINGULAR = 1e-14
"""A symmetric (2, 2) matrix with det <= SINGULAR trace^2 is singular: one digit above rounding."""

REAL_ROOT = 1e-12
"""A root is real if its imaginary part is below this share of its size."""

IN_PLANE = 1e-12
"""Vectors span no plane, or leave a plane, by rounding if the component is this share of them."""
