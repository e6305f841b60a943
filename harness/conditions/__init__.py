"""The weight distribution conditions WDC (eq. 5) and joint-WDC (eqs. 6, 7) of given matrices.

The constant of a matrix is a supremum over spheres.  `wdc_bracket` and `joint_wdc_bracket` bound
it from below, with the vectors that prove it, and from above where a bound is certified:

================  =========================================  ==================================
columns           WDC                                        joint-WDC
================  =========================================  ==================================
1                 exact                                      exact (1 and 1)
2                 certified to a tolerance                   certified within a budget (2 and 2)
3, 4              certified within a budget, gap reported    lower end by search
more              lower end by search                        lower end by search
================  =========================================  ==================================

Each column costs the certificate a factor of some 100: with 5% as the tolerance, three columns and
1,000 rows take 4 to 11 million pairs of cells, about a minute of a core; four columns and 50 rows 5
million; four and 200 rows a million pairs for a bracket of .35 to .82.  Beyond four nothing better
is known here than max(alpha/2, ||W||^2), since 0 <= sum <= W^T W and ||Q|| <= 1/2; for 1,600 rows
and 57 columns that is 1.4 where the search finds .65, too much to be called an upper end.

Where to look: `definition` has both residuals as the paper writes them, `mean` every formula of Q.
`search` (with `anneal`, `fast_residual`) finds lower ends; `exact`, `exact_joint` and
`net` (with the compiled `*_kernels`) certify upper ends.
"""

from harness.conditions.bracket import Bracket
from harness.conditions.brackets import joint_wdc_bracket, wdc_bracket, wdc_lower_end
from harness.conditions.definition import (
    JointWitness,
    WdcWitness,
    check_matrix,
    joint_wdc_residual,
    wdc_residual,
)
from harness.conditions.fast_residual import Residual, residual_numpy
from harness.conditions.search import (
    joint_wdc_row_aligned,
    joint_wdc_sampled,
    joint_wdc_search,
    wdc_sampled,
    wdc_search,
)

__all__ = [
    "Bracket",
    "JointWitness",
    "Residual",
    "WdcWitness",
    "check_matrix",
    "joint_wdc_bracket",
    "joint_wdc_residual",
    "joint_wdc_row_aligned",
    "joint_wdc_sampled",
    "joint_wdc_search",
    "residual_numpy",
    "wdc_bracket",
    "wdc_lower_end",
    "wdc_residual",
    "wdc_sampled",
    "wdc_search",
]
