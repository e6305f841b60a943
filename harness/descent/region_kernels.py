"""Compiled: a ReLU network at two moving points, by the matrices of the regions they are in.

Importing this module compiles, or loads from the cache: import it inside the function that needs
it.  Matrices lie transposed in flat arrays, one after the other: W_k^T (n_{k-1}, n_k), E_k^T
(n, n_k), so that every inner loop runs along the units of a layer.

At a point x the pre-activations are z_k = E_k x with E_k = W_k diag(on_{k-1}) E_{k-1}, E_1 = W_1.
As x moves, units switch; unit u of layer k switching changes E_{k+1} by +-W_{k+1}[:, u] E_k[u, :]
and later layers by what that passes on: rank one each.  Two departures from this save time:

* Of the last matrix only B = W_d diag(base) E_{d-1} is kept, with a mask `base` that lags behind
  on_{d-1}: z_d = B x + sum of +-z_{d-1}[u] W_d[:, u] over the units u in which they differ, the
  `pending` ones.  They are worked into B when what they have cost exceeds what that costs, so
  that units which chatter across their kink, and points that are evaluated once, are cheap.
* Where fewer units are active than B has columns and units are pending together, z_d = sum of
  z_{d-1}[u] W_d[:, u] over the active units: plain evaluation.  B begins empty and needs it; it
  is made when it would have saved what that costs, and given up when keeping it costs more.

The last layer's own switches change no matrix.

The points are x on one side and, where a sign check wants it, -x on the other; `side` is 0 or 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from harness.descent.array_kernels import FAST, Array, Ints, add_rows, borrowed, copy, dots, fill

TILE = 256
"""The same where n rows of as many units are written."""

WRITE = 0.75
"""Time to add a row to a row of E, in units of the time to read a row in a product."""

RENEWAL = 512
"""Rank-one changes after which the matrices of a side are made anew and compared."""

DRIFT_RTOL = 1e-12
"""A greater difference, relative to the greatest entry, is counted as drift."""

WIDTH, AT, UNIT, PLACE = range(4)
"""Rows of `Network.layout`: n_k, where W_k^T begins at k - 1, the units before layer k at k - 1
(then their number), where the parts of `real` begin."""

Z, ON, BASE, SIGN, VALUE, DEPTH = range(6)
"""Columns of layout[PLACE]: see `Network.real`; the last holds d."""

USED, PAID, CREDIT, DRIFT, REALS = range(5)
"""First columns of `Network.real`, in rows of ell numbers; see `weigh`.

USED : how often all of z_d was computed or pulled back through since the point was entered.
PAID : rows read for want of working pending units into B.
CREDIT : rows that B has saved, less those that keeping it took; or would have.
"""

LISTED, PLAIN, FINITE, SINCE, DEEP = range(5)
EVALUATIONS, PLAINS, UPDATES, REBUILDS, DRIFTED, COUNTS = range(5, 11)
"""First columns of `Network.whole`.

LISTED : how many units are listed.
PLAIN : 1 where they are all active ones, 0 where they are the pending ones.
FINITE : 0 if a pre-activation of an inner layer is not finite.
SINCE : rank-one changes since the matrices were made anew.
DEEP : switches in layers before d - 1 since the last `weigh`.
From EVALUATIONS on those of `harness.descent.solution.TrackingReport`.
"""

GAIN, WEIGHT, ROW, OTHER, WORKS = range(5)
"""Rows of `Network.work`."""

EVERY, SWITCHED, CHOSEN, LISTS = range(4)
"""Rows of `Network.lists`; EVERY holds 0, 1, ..."""


class Network(NamedTuple):
    """A network with U units, its state on both sides, and working space; k = n_{d-1}.

    layout : (4, .) sizes and places.
    W : flat, W_1^T, ..., W_d^T.
    E : (2, n U), E_1^T, ..., E_{d-1}^T and B in the place of E_d^T.
    real : (2, .), after the first columns
        z (U,), pre-activations;
        on (U - ell,), 1 for the active units of the inner layers (the last layer's are z > 0);
        base (k,), 1 for the units that are in B;
        sign (k,), of the listed units +1, or -1 if the unit is in B and is not active;
        value (k,), the same times z.
    whole : (2, .), after the counts the listed units (k,) of layer d - 1: those whose columns of
        W_d are read beside or in place of B.
    work, lists : rows of the greatest width.
    """

    layout: Ints
    W: Array
    E: Array
    real: Array
    whole: Ints
    work: Array
    lists: Ints


@numba.njit(cache=True, nogil=True, error_model="numpy")
def borrow(net: Network) -> Network:
    """The network of borrowed arrays."""
    return Network(
        borrowed(net.layout),
        borrowed(net.W),
        borrowed(net.E),
        borrowed(net.real),
        borrowed(net.whole),
        borrowed(net.work),
        borrowed(net.lists),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def add_outer(net: Network, side: int, k: int, units: Ints, coef: Array, count: int) -> None:
    """E_{k+1} += sum of coef[q] W_{k+1}[:, u] E_k[u, :] over u = units[q], q < count."""
    n, width, wide = net.layout[WIDTH, 0], net.layout[WIDTH, k], net.layout[WIDTH, k + 1]
    source, target = n * net.layout[UNIT, k - 1], n * net.layout[UNIT, k]
    E, W = net.E[side], net.W
    for low in range(0, wide, TILE):
        size, start, q = min(TILE, wide - low), net.layout[AT, k] + low, 0
        while q + 4 <= count:
            u0, u1, u2, u3 = units[q], units[q + 1], units[q + 2], units[q + 3]
            row0 = W[start + u0 * wide : start + u0 * wide + size]
            row1 = W[start + u1 * wide : start + u1 * wide + size]
            row2 = W[start + u2 * wide : start + u2 * wide + size]
            row3 = W[start + u3 * wide : start + u3 * wide + size]
            for i in range(n):
                row = E[source + i * width : source + (i + 1) * width]
                c0, c1 = coef[q] * row[u0], coef[q + 1] * row[u1]
                c2, c3 = coef[q + 2] * row[u2], coef[q + 3] * row[u3]
                out = E[target + i * wide + low : target + i * wide + low + size]
                for j in range(size):
                    out[j] += c0 * row0[j] + c1 * row1[j] + c2 * row2[j] + c3 * row3[j]
            q += 4
        while q < count:
            u0 = units[q]
            row0 = W[start + u0 * wide : start + u0 * wide + size]
            for i in range(n):
                c0 = coef[q] * E[source + i * width + u0]
                out = E[target + i * wide + low : target + i * wide + low + size]
                for j in range(size):
                    out[j] += c0 * row0[j]
            q += 1


# --- Keeping the matrices -------------------------------------------------------------------


@numba.njit(cache=True, nogil=True, error_model="numpy")
def leave(net: Network, sides: int) -> None:
    """Make the first so many sides ones in which nothing is active yet, with counts of 0."""
    first = net.layout[WIDTH, 0] * net.layout[UNIT, 1]
    for side in range(sides):
        copy(net.W[:first], net.E[side])  # E_1 = W_1
        fill(net.E[side, first:], 0.0)
        fill(net.real[side], 0.0)
        for j in range(COUNTS):
            net.whole[side, j] = 0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def choose(net: Network, side: int, k: int) -> int:
    """Units of layer k that are in the matrix of layer k + 1: listed in CHOSEN, and how many."""
    first, count = net.layout[PLACE, ON] + net.layout[UNIT, k - 1], 0
    if k == net.layout[PLACE, DEPTH] - 1:
        first = net.layout[PLACE, BASE]
    for u in range(net.layout[WIDTH, k]):
        if net.real[side, first + u] > 0:
            net.lists[CHOSEN, count] = u
            count += 1
    return count


@numba.njit(cache=True, nogil=True, error_model="numpy")
def rebuild(net: Network, side: int, k: int) -> None:
    """E_{k+1} = W_{k+1} diag(on_k) E_k, or B."""
    n = net.layout[WIDTH, 0]
    fill(net.E[side, n * net.layout[UNIT, k] : n * net.layout[UNIT, k + 1]], 0.0)
    count = choose(net, side, k)
    fill(net.work[WEIGHT, :count], 1.0)
    add_outer(net, side, k, net.lists[CHOSEN], net.work[WEIGHT], count)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def renew(net: Network, side: int) -> None:
    """Make every matrix anew and note the greatest relative difference from what was kept."""
    n = net.layout[WIDTH, 0]
    for k in range(1, net.layout[PLACE, DEPTH]):
        new = net.E[side, n * net.layout[UNIT, k] : n * net.layout[UNIT, k + 1]]
        old = new.copy()
        rebuild(net, side, k)
        size, difference = 0.0, 0.0
        for j in range(len(new)):
            size = max(size, abs(new[j]))
            difference = max(difference, abs(new[j] - old[j]))
        if difference > DRIFT_RTOL * size:
            net.whole[side, DRIFTED] += 1
        if size > 0:
            net.real[side, DRIFT] = max(net.real[side, DRIFT], difference / size)
    net.whole[side, REBUILDS] += 1
    net.whole[side, SINCE] = 0


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def pass_on(net: Network, side: int, k: int, u: int, gain: float) -> None:
    """Add to E_{k+2}, ..., E_{d-1}, B what unit u of layer k changes by switching (gain +-1)."""
    n, width, wide = net.layout[WIDTH, 0], net.layout[WIDTH, k], net.layout[WIDTH, k + 1]
    source, start = n * net.layout[UNIT, k - 1], net.layout[AT, k] + u * wide
    row, other, weight = net.work[ROW], net.work[OTHER], net.work[WEIGHT]
    copy(net.W[start : start + wide], row)
    for q in range(k + 1, net.layout[PLACE, DEPTH]):  # row = what E_{q} has gained, / E_k[u, :]
        count = choose(net, side, q)
        for c in range(count):
            weight[c] = row[net.lists[CHOSEN, c]]
        wide = net.layout[WIDTH, q + 1]
        column = other[:wide]
        fill(column, 0.0)
        add_rows(column, net.W, net.layout[AT, q], wide, net.lists[CHOSEN], weight, count)
        if count > 0:
            for i in range(n):
                start = n * net.layout[UNIT, q] + i * wide
                c = gain * net.E[side, source + i * width + u]
                target = net.E[side, start : start + wide]
                for j in range(wide):
                    target[j] += c * column[j]
        row, other = other, row


@numba.njit(cache=True, nogil=True, error_model="numpy")
def propagate(net: Network, side: int, k: int, flips: int) -> None:
    """Bring E_{k+1}, ..., E_{d-1}, B up to date after so many switches in layer k < d - 1."""
    depth, write = net.layout[PLACE, DEPTH], WRITE * net.layout[WIDTH, 0]
    active = choose(net, side, k)
    changing = flips * write * net.layout[WIDTH, k + 1]
    anew = active * write * net.layout[WIDTH, k + 1]
    for q in range(k + 1, depth):
        count = choose(net, side, q)
        changing += flips * (count + (write if count > 0 else 0.0)) * net.layout[WIDTH, q + 1]
        anew += count * write * net.layout[WIDTH, q + 1]
    net.whole[side, DEEP] += flips
    if active == 0 or anew <= changing:  # a layer with nothing active gives exact zeros
        for q in range(k, depth):
            rebuild(net, side, q)
        net.whole[side, REBUILDS] += 1
    else:
        add_outer(net, side, k, net.lists[SWITCHED], net.work[GAIN], flips)
        for flip in range(flips):
            pass_on(net, side, k, net.lists[SWITCHED, flip], net.work[GAIN, flip])
        net.whole[side, UPDATES] += flips
        net.whole[side, SINCE] += flips


@numba.njit(cache=True, nogil=True, error_model="numpy")
def switch(net: Network, side: int, k: int) -> int:
    """Set on_k = 1{z_k > 0}; how many units switch, listed in SWITCHED with their GAIN."""
    width, first = net.layout[WIDTH, k], net.layout[UNIT, k - 1]
    z = net.real[side, net.layout[PLACE, Z] + first :][:width]
    on = net.real[side, net.layout[PLACE, ON] + first :][:width]
    different, undefined = 0.0, 0.0
    for u in range(width):
        different += abs((1.0 if z[u] > 0 else 0.0) - on[u])
        undefined += z[u] * 0.0
    if undefined != 0.0:  # NaN, from a NaN or an infinity
        net.whole[side, FINITE] = 0
    if different == 0.0:
        return 0
    flips = 0
    for u in range(width):
        now = 1.0 if z[u] > 0 else 0.0
        if now != on[u]:
            net.lists[SWITCHED, flips] = u
            net.work[GAIN, flips] = now - on[u]
            on[u] = now
            flips += 1
    return flips


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def settle(net: Network, side: int, active: int, pending: int) -> None:
    """Work the pending units into B."""
    place, k = net.layout[PLACE], net.layout[PLACE, DEPTH] - 1
    on = place[ON] + net.layout[UNIT, k - 1]
    for u in range(net.layout[WIDTH, k]):
        net.real[side, place[BASE] + u] = net.real[side, on + u]
    if active <= pending:
        rebuild(net, side, k)
        net.whole[side, REBUILDS] += 1
    else:
        units, sign = net.whole[side, COUNTS:], net.real[side, place[SIGN] :]
        add_outer(net, side, k, units, sign, pending)
        net.whole[side, UPDATES] += pending
        net.whole[side, SINCE] += pending


KEEP, SETTLE, DROP = range(3)
"""What `weigh` decides about B."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def weigh(net: Network, side: int, active: int, pending: int, based: int) -> int:
    """Whether to work the pending units into B, or give it up.

    Each is done when not having done it has cost what doing it costs, so that the total is within
    a factor of what it would be if the future were known.
    """
    n, real, whole = net.layout[WIDTH, 0], net.real[side], net.whole[side]
    used, deep = real[USED], whole[DEEP]
    real[USED], whole[DEEP] = 0.0, 0
    anew = WRITE * n * active
    real[CREDIT] += (active - n) * used - deep * (active + WRITE * n)
    if active <= n:
        return KEEP
    if based == 0:
        real[CREDIT] = max(real[CREDIT], 0.0)
        if real[CREDIT] <= anew:
            return KEEP
    else:
        real[CREDIT] = min(real[CREDIT], 0.0)
        if real[CREDIT] < -anew:
            real[CREDIT] = 0.0
            return DROP
        real[PAID] += used * min(whole[LISTED], active - n)
        if pending == 0 or real[PAID] <= min(WRITE * n * pending, anew):
            return KEEP
    real[CREDIT], real[PAID] = 0.0, 0.0
    return SETTLE


@numba.njit(cache=True, nogil=True, error_model="numpy")
def list_units(net: Network, side: int) -> None:
    """Decide how z_d is computed at the current on_{d-1}, and list the units that takes."""
    place, k = net.layout[PLACE], net.layout[PLACE, DEPTH] - 1
    n, width, first = net.layout[WIDTH, 0], net.layout[WIDTH, k], net.layout[UNIT, k - 1]
    real, whole = net.real[side], net.whole[side]
    on, base = place[ON] + first, place[BASE]
    active, based, different = 0.0, 0.0, 0.0
    for u in range(width):
        active += real[on + u]
        based += real[base + u]
        different += abs(real[on + u] - real[base + u])
    decision = weigh(net, side, int(active), int(different), int(based))
    if decision == DROP:
        fill(real[base : base + width], 0.0)
        fill(net.E[side, n * net.layout[UNIT, k] :], 0.0)
        different = active
    plain = active <= n + different and decision != SETTLE
    count = 0
    for u in range(width):
        sign = real[on + u] - (0.0 if plain else real[base + u])
        if sign != 0:
            whole[COUNTS + count] = u
            real[place[SIGN] + count] = sign
            count += 1
    if decision == SETTLE:
        settle(net, side, int(active), count)
        count = 0
    for q in range(count):
        z = real[place[Z] + first + whole[COUNTS + q]]
        real[place[VALUE] + q] = real[place[SIGN] + q] * z
    whole[LISTED], whole[PLAIN] = count, 1 if plain else 0
    whole[PLAINS] += whole[PLAIN]


# --- What the descent asks for --------------------------------------------------------------


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def enter(net: Network, side: int, x: Array) -> None:
    """Bring a side to the point x (n,): z and on of the inner layers, and the matrices."""
    if net.layout[PLACE, DEPTH] > 1:
        product(net, side, 1, x)
    follow(net, side, x)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def enter_opposite(net: Network, side: int, x: Array) -> None:
    """`enter` where the other side is at -x: z_1 is the negative of what it is there."""
    if net.layout[PLACE, DEPTH] > 1:
        first = net.layout[PLACE, Z]
        for u in range(first, first + net.layout[WIDTH, 1]):
            net.real[side, u] = -net.real[1 - side, u]
    follow(net, side, x)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def product(net: Network, side: int, k: int, x: Array) -> None:
    """z_k = E_k x for a layer k < d."""
    low, width = net.layout[UNIT, k - 1], net.layout[WIDTH, k]
    first = net.layout[PLACE, Z] + low
    z = net.real[side, first : first + width]
    fill(z, 0.0)
    add_rows(z, net.E[side], len(x) * low, width, net.lists[EVERY], x, len(x))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def follow(net: Network, side: int, x: Array) -> None:
    """What is left of `enter` once z_1 is there."""
    depth, whole = net.layout[PLACE, DEPTH], net.whole[side]
    whole[EVALUATIONS] += 1
    whole[FINITE] = 1
    if whole[SINCE] >= RENEWAL:
        renew(net, side)
    for k in range(1, depth):
        if k > 1:
            product(net, side, k, x)
        flips = switch(net, side, k)
        if flips > 0 and k < depth - 1:
            propagate(net, side, k, flips)
    if depth > 1:
        list_units(net, side)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def last(net: Network, side: int) -> Array:
    """z_d (ell,), where it is stored."""
    first = net.layout[PLACE, Z] + net.layout[UNIT, net.layout[PLACE, DEPTH] - 1]
    return net.real[side, first : net.layout[PLACE, ON]]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def output(net: Network, side: int, x: Array, low: int, high: int) -> None:
    """Units low <= j < high of `last` at the point x that was entered last.

    NaN if a pre-activation of an inner layer is not finite.
    """
    depth, whole = net.layout[PLACE, DEPTH], net.whole[side]
    wide = net.layout[WIDTH, depth]
    z = last(net, side)[low:high]
    net.real[side, USED] += (high - low) / wide
    if whole[FINITE] == 0:
        fill(z, np.nan)
        return
    fill(z, 0.0)
    if whole[PLAIN] == 0:
        start = len(x) * net.layout[UNIT, depth - 1] + low
        add_rows(z, net.E[side], start, wide, net.lists[EVERY], x, len(x))
    if whole[LISTED] > 0:
        value = net.real[side, net.layout[PLACE, VALUE] :]
        start = net.layout[AT, depth - 1] + low
        add_rows(z, net.W, start, wide, whole[COUNTS:], value, whole[LISTED])


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def output_all(net: Network, side: int, x: Array) -> None:
    """All of `last` at the point x that was entered last."""
    output(net, side, x, 0, net.layout[WIDTH, net.layout[PLACE, DEPTH]])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pull_back(net: Network, side: int, v: Array, out: Array) -> None:
    """Out (n,) = (W_d diag(on_{d-1}) E_{d-1})^T v at the point that was entered last.

    v (ell,) holds 0 where the last layer is inactive.
    """
    n, depth = net.layout[WIDTH, 0], net.layout[PLACE, DEPTH]
    wide, listed = net.layout[WIDTH, depth], net.whole[side, LISTED]
    if net.whole[side, PLAIN] == 0:
        first = n * net.layout[UNIT, depth - 1]
        dots(out, net.E[side], first, wide, net.lists[EVERY], v, n)
    else:
        fill(out, 0.0)
    net.real[side, USED] += 1.0
    if listed > 0:
        units, weight = net.whole[side, COUNTS:], net.work[WEIGHT]
        dots(weight, net.W, net.layout[AT, depth - 1], wide, units, v, listed)
        width, first = net.layout[WIDTH, depth - 1], n * net.layout[UNIT, depth - 2]
        for i in range(n):
            for q in range(listed):
                sign = net.real[side, net.layout[PLACE, SIGN] + q]
                out[i] += sign * weight[q] * net.E[side, first + i * width + units[q]]
