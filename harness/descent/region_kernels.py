"""Compiled: a ReLU network at two moving points, through the matrices of their linear regions.

At a point x the pre-activations are z_k = E_k x with E_1 = W_1 and
E_k = W_k diag(on_{k-1}) E_{k-1}, where on_k = 1{z_k > 0}.  When unit u of layer k switches, E_{k+1}
changes by +-W_{k+1}[:, u] E_k[u, :], a matrix of rank one, and so does every later matrix.  The
switches of the last layer change no matrix.  Instead of E_d this module keeps
B = W_d diag(base) E_{d-1}, with a mask `base` that may lag behind on_{d-1}:

    z_d = B x + sum of +-z_{d-1}[u] W_d[:, u] over the units u where base and on_{d-1} differ.

If this looks like word soup, here is what goes on.  A ReLU network is linear as long as no unit
switches on or off, and one small matrix then does the work of all layers.  So we keep that matrix
and repair it when a unit switches, which costs one column times one row.  Repairs can be a waste:
a unit may switch back at the next step.  So the last and largest matrix is repaired late.  Until
then the *pending* units, those whose repair is due, enter as a correction of the output.  When so
many are pending that the correction costs more than to evaluate the last layer in the ordinary way,
we do that instead (*plain* evaluation), with no matrix at all.  `weigh` keeps the account that
decides when to repair and when to give the matrix up.

In runs whose units settle down, late repairs gain nothing.  They pay if units keep switching, as
they do if the step is too long.

The two points are x on one side and, after a change of sign, -x on the other; `side` is 0 or 1.
Matrices are stored transposed, one after the other, W_k^T (n_{k-1}, n_k) and E_k^T (n, n_k), so
that every inner loop runs along the units of a layer.  Importing this module compiles it or loads
it from the cache: import it inside the function that needs it.
"""

from __future__ import annotations

import numpy as np

from harness.compiled import njit
from harness.descent.array_kernels import (
    FAST,
    Array,
    Ints,
    add_rows,
    borrowed,
    dots,
    fill,
)
from harness.descent.tracked_network import Network

TILE = 256
"""Units of a layer that `add_outer` works on together, so that their rows stay in the L1 cache."""

WRITE = 0.75
"""Time to add a row to a row of E, in units of the time to read a row in a product."""

RENEWAL = 512
"""Rank-one updates after which the matrices of a side are recomputed and compared."""

DRIFT_RTOL = 1e-12
"""A larger difference, relative to the largest entry, counts as drift."""


@njit(error_model="numpy")
def borrow(net: Network) -> Network:
    """The network with borrowed arrays."""
    return Network(
        net.n,
        net.depth,
        borrowed(net.layers),
        borrowed(net.W),
        borrowed(net.E),
        borrowed(net.z),
        borrowed(net.on),
        borrowed(net.base),
        borrowed(net.units),
        borrowed(net.sign),
        borrowed(net.value),
        borrowed(net.sides),
        borrowed(net.every),
        borrowed(net.switched),
        borrowed(net.weight),
        borrowed(net.active),
        borrowed(net.level),
        borrowed(net.row_norms),
        net.stretch,
    )


@njit(error_model="numpy", fastmath=FAST)
def add_outer(net: Network, side: int, k: int, units: Ints, coef: Array, count: int) -> None:
    """E_{k+1} += sum of coef[q] W_{k+1}[:, u] E_k[u, :] over u = units[q], q < count."""
    n, width, wide = net.n, net.layers[k].width, net.layers[k + 1].width
    source, target = net.layers[k].matrix, net.layers[k + 1].matrix
    E, W, weights = net.E[side], net.W, net.layers[k + 1].weights
    for low in range(0, wide, TILE):
        size, start, q = min(TILE, wide - low), weights + low, 0
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


@njit(error_model="numpy")
def chosen(net: Network, side: int, k: int) -> Ints:
    """The units of layer k that are in the matrix of layer k + 1: on_k, or base for k = d - 1."""
    first, width = net.layers[k].units, net.layers[k].width
    if k == net.depth - 1:
        return np.flatnonzero(net.base[side])
    return np.flatnonzero(net.on[side, first : first + width])


@njit(error_model="numpy")
def matrix(net: Network, side: int, k: int) -> Array:
    """E_k^T, or B^T for k = d, as it is stored: (n n_k,)."""
    start = net.layers[k].matrix
    return net.E[side, start : start + net.n * net.layers[k].width]


@njit(error_model="numpy")
def rebuild(net: Network, side: int, k: int) -> None:
    """Recompute E_{k+1} = W_{k+1} diag(on_k) E_k, or B."""
    fill(matrix(net, side, k + 1), 0.0)
    units = chosen(net, side, k)
    add_outer(net, side, k, units, np.ones(len(units)), len(units))


@njit(error_model="numpy")
def renew(net: Network, side: int) -> None:
    """Recompute every matrix, and note the largest relative difference from the old one."""
    effort = net.sides[side].effort
    for k in range(1, net.depth):
        new = matrix(net, side, k + 1)
        old = new.copy()
        rebuild(net, side, k)
        size, difference = 0.0, 0.0
        for j in range(len(new)):
            size = max(size, abs(new[j]))
            difference = max(difference, abs(new[j] - old[j]))
        if difference > DRIFT_RTOL * size:
            effort.drifted += 1
        if size > 0:
            effort.drift = max(effort.drift, difference / size)
    effort.rebuilds += 1
    net.sides[side].since = 0


@njit(error_model="numpy", fastmath=FAST)
def pass_on(net: Network, side: int, k: int, u: int, gain: float) -> None:
    """Update E_{k+2}, ..., E_{d-1}, B for a switch of unit u in layer k, on (+1) or off (-1).

    The switch changes E_{k+1} by gain c e^T with c = W_{k+1}[:, u] and e = E_k[u, :], and every
    later matrix E_{q+1} by gain (W_{q+1} diag(on_q) c) e^T, with the c of E_q.
    """
    n, width, wide = net.n, net.layers[k].width, net.layers[k + 1].width
    source, start = net.layers[k].matrix, net.layers[k + 1].weights + u * wide
    column = net.W[start : start + wide].copy()  # c (n_{k+1},)
    for q in range(k + 1, net.depth):
        units, wide = chosen(net, side, q), net.layers[q + 1].width
        weight, column = column[units], np.zeros(wide)  # the next c (n_{q+1},)
        add_rows(column, net.W, net.layers[q + 1].weights, wide, units, weight, len(units))
        if len(units) > 0:
            first = net.layers[q + 1].matrix
            for i in range(n):
                start = first + i * wide
                c = gain * net.E[side, source + i * width + u]
                target = net.E[side, start : start + wide]
                for j in range(wide):
                    target[j] += c * column[j]


@njit(error_model="numpy")
def propagate(net: Network, side: int, k: int, flips: int) -> None:
    """Update E_{k+1}, ..., E_{d-1}, B for the `switched` units of layer k < d - 1.

    By rank-one updates, or by recomputing, whichever is cheaper.
    """
    write, state = WRITE * net.n, net.sides[side]
    active = len(chosen(net, side, k))
    changing = flips * write * net.layers[k + 1].width
    anew = active * write * net.layers[k + 1].width
    for q in range(k + 1, net.depth):
        count = len(chosen(net, side, q))
        changing += flips * (count + (write if count > 0 else 0.0)) * net.layers[q + 1].width
        anew += count * write * net.layers[q + 1].width
    state.account.deep += flips
    if active == 0 or anew <= changing:  # a layer without active units gives exact zeros
        for q in range(k, net.depth):
            rebuild(net, side, q)
        state.effort.rebuilds += 1
    else:
        first, units = net.layers[k].units, net.switched[:flips]
        gain = np.empty(flips)
        for q in range(flips):
            gain[q] = 1.0 if net.on[side, first + units[q]] > 0 else -1.0
        add_outer(net, side, k, units, gain, flips)
        for q in range(flips):
            pass_on(net, side, k, units[q], gain[q])
        state.effort.updates += flips
        state.since += flips


@njit(error_model="numpy", forceinline=True)
def switch(net: Network, side: int, k: int) -> int:
    """Set on_k = 1{z_k > 0}; list the units that switch in `switched`, and return how many."""
    first, width = net.layers[k].units, net.layers[k].width
    z = net.z[side, first : first + width]
    on = net.on[side, first : first + width]
    different, undefined = 0.0, 0.0
    for u in range(width):
        different += abs((1.0 if z[u] > 0 else 0.0) - on[u])
        undefined += z[u] * 0.0
    if undefined != 0.0:  # NaN, from a NaN or an infinity
        net.sides[side].finite = 0
    if different == 0.0:
        return 0
    flips = 0
    for u in range(width):
        now = 1.0 if z[u] > 0 else 0.0
        if now != on[u]:
            net.switched[flips] = u
            on[u] = now
            flips += 1
    return flips


# --- How z_d is computed --------------------------------------------------------------------


KEEP, SETTLE, DROP = range(3)
"""What `weigh` decides: leave B as it is, work the pending units into it, or give it up."""


@njit(error_model="numpy", forceinline=True)
def weigh(net: Network, side: int, active: int, pending: int, based: int) -> int:
    """Decide what to do with B, from the numbers of units in layer d - 1 and in B.

    The rule of the ski-rental problem: pay by use until the payments reach the price, then buy.  B
    is settled when reading the pending units has cost as much as working them in; it is made when
    it would have saved what making it costs, and given up when keeping it has cost that much.  No
    bound on the total cost is claimed.  To switch the delay off, settle as soon as a unit is
    pending; to switch tracking off, always return KEEP.
    """
    account, n = net.sides[side].account, net.n
    used, deep = account.used, account.deep
    account.used, account.deep = 0.0, 0
    anew = WRITE * n * active
    account.credit += (active - n) * used - deep * (active + WRITE * n)
    if active <= n:
        return KEEP
    if based == 0:
        account.credit = max(account.credit, 0.0)
        if account.credit <= anew:
            return KEEP
    else:
        account.credit = min(account.credit, 0.0)
        if account.credit < -anew:
            account.credit = 0.0
            return DROP
        account.paid += used * min(net.sides[side].listed, active - n)
        if pending == 0 or account.paid <= min(WRITE * n * pending, anew):
            return KEEP
    account.credit, account.paid = 0.0, 0.0
    return SETTLE


@njit(error_model="numpy", inline="always")
def settle(net: Network, side: int, active: int, pending: int) -> None:
    """Work the pending units into B, so that base = on_{d-1}."""
    k, state = net.depth - 1, net.sides[side]
    first = net.layers[k].units
    for u in range(net.layers[k].width):
        net.base[side, u] = net.on[side, first + u]
    if active <= pending:
        rebuild(net, side, k)
        state.effort.rebuilds += 1
    else:
        add_outer(net, side, k, net.units[side], net.sign[side], pending)
        state.effort.updates += pending
        state.since += pending


@njit(error_model="numpy", forceinline=True)
def list_units(net: Network, side: int) -> None:
    """Decide how to compute z_d at the present on_{d-1}, and list the units that this takes."""
    k, state = net.depth - 1, net.sides[side]
    n, width, first = net.n, net.layers[k].width, net.layers[k].units
    on, base = net.on[side, first : first + width], net.base[side]
    z, units = net.z[side, first : first + width], net.units[side]
    sign, value = net.sign[side], net.value[side]
    active, based, different = 0.0, 0.0, 0.0
    for u in range(width):
        active += on[u]
        based += base[u]
        different += abs(on[u] - base[u])
    decision = weigh(net, side, int(active), int(different), int(based))
    if decision == DROP:
        fill(base, 0.0)
        fill(matrix(net, side, net.depth), 0.0)
        different = active
    plain = active <= n + different and decision != SETTLE
    count = 0
    for u in range(width if plain or different > 0 else 0):
        s = on[u] - (0.0 if plain else base[u])
        if s != 0:
            units[count] = u
            sign[count] = s
            count += 1
    if decision == SETTLE:
        settle(net, side, int(active), count)
        count = 0
    for q in range(count):
        value[q] = sign[q] * z[units[q]]
    state.listed, state.plain = count, 1 if plain else 0
    state.effort.plain += state.plain


# --- What the descent asks for --------------------------------------------------------------


@njit(error_model="numpy", forceinline=True)
def product(net: Network, side: int, k: int, x: Array) -> None:
    """z_k = E_k x for a layer k < d."""
    first, width = net.layers[k].units, net.layers[k].width
    z = net.z[side, first : first + width]
    fill(z, 0.0)
    add_rows(z, net.E[side], net.layers[k].matrix, width, net.every, x, len(x))


@njit(error_model="numpy")
def enter(net: Network, side: int, x: Array) -> None:
    """Bring a side to the point x (n,): z and on of the inner layers, and the matrices."""
    state = net.sides[side]
    state.effort.evaluations += 1
    state.finite = 1
    if state.since >= RENEWAL:
        renew(net, side)
    for k in range(1, net.depth):
        product(net, side, k, x)
        flips = switch(net, side, k)
        if flips > 0 and k < net.depth - 1:
            propagate(net, side, k, flips)
    if net.depth > 1:
        list_units(net, side)


@njit(error_model="numpy")
def last(net: Network, side: int) -> Array:
    """z_d (ell,), where it is stored."""
    return net.z[side, net.layers[net.depth].units :]


@njit(error_model="numpy", forceinline=True)
def output(net: Network, side: int, x: Array, low: int, high: int) -> None:
    """Compute entries low <= j < high of `last` at x, the point entered last.

    NaN if a pre-activation of an inner layer is not finite.
    """
    state, layer = net.sides[side], net.layers[net.depth]
    wide = layer.width
    z = last(net, side)[low:high]
    state.account.used += (high - low) / wide
    if state.finite == 0:
        fill(z, np.nan)
        return
    fill(z, 0.0)
    if state.plain == 0:
        add_rows(z, net.E[side], layer.matrix + low, wide, net.every, x, len(x))
    if state.listed > 0:
        start = layer.weights + low
        add_rows(z, net.W, start, wide, net.units[side], net.value[side], state.listed)


@njit(error_model="numpy", inline="always")
def output_all(net: Network, side: int, x: Array) -> None:
    """Compute `last` at x, the point entered last."""
    output(net, side, x, 0, net.layers[net.depth].width)


@njit(error_model="numpy", forceinline=True)
def pull_back(net: Network, side: int, v: Array, out: Array) -> None:
    """out (n,) = (W_d diag(on_{d-1}) E_{d-1})^T v at the point entered last.

    v (ell,) must be 0 where the last layer is inactive.
    """
    n, state, layer = net.n, net.sides[side], net.layers[net.depth]
    wide, listed = layer.width, state.listed
    if state.plain == 0:
        dots(out, net.E[side], layer.matrix, wide, net.every, v, n)
    else:
        fill(out, 0.0)
    state.account.used += 1.0
    if listed > 0:
        units, sign, weight = net.units[side], net.sign[side], net.weight
        dots(weight, net.W, layer.weights, wide, units, v, listed)
        width, first = net.layers[net.depth - 1].width, net.layers[net.depth - 1].matrix
        for i in range(n):
            for q in range(listed):
                out[i] += sign[q] * weight[q] * net.E[side, first + i * width + units[q]]
