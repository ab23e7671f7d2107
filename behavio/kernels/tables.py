"""Tables of what followed which context, made from sorted contexts: a trie in flat arrays.

Level k of the trie holds contexts of k symbols. Nodes are numbered breadth first; the children of node m are
child[m]:child[m + 1], their symbols rising; what followed node m is start[m]:start[m + 1], activities rising.
The list is walked once, depth first: a step counts at the longest of its contexts that is asked for, and what
a context has counted goes to the next shorter one when it is left. Contexts that nobody asks for cost
nothing, which in a log where long contexts hardly repeat is nearly all.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.arrays import grown
from behavio.kernels.ready import njit

MOST = 64
"""More symbols than any context has."""


@njit(cache=True, nogil=True)
def alike(
    a: np.ndarray, i: int, b: np.ndarray, j: int, word: np.ndarray, shift: np.ndarray, mask: np.ndarray
) -> int:
    """Symbols that two contexts share from the newest on."""
    for level in range(len(word)):
        here = (a[word[level], i] >> shift[level]) & mask[level]
        if here == 0 or here != (b[word[level], j] >> shift[level]) & mask[level]:
            return level
    return len(word)


@njit(cache=True, nogil=True)
def levels_asked(
    words: np.ndarray,
    shared: np.ndarray,
    held: np.ndarray,
    word: np.ndarray,
    shift: np.ndarray,
    mask: np.ndarray,
) -> np.ndarray:
    """int8 (n,): the longest context of each step that is also a context of one of `held`, sorted as well."""
    n, m = words.shape[1], held.shape[1]
    asked = np.zeros(n, dtype=np.int8)
    place = np.full(m, n, dtype=np.int64)  # of each of `held`: the first step that is not before it
    run, j = 0, 0
    for i in range(n):
        run = min(run, int(shared[i]))
        while j < m and not _before(words, i, held, j):
            run = max(run, alike(words, i, held, j, word, shift, mask))
            place[j] = i
            j += 1
        asked[i] = run
    run, j = 0, m - 1
    for i in range(n - 1, -1, -1):
        if i + 1 < n:
            run = min(run, int(shared[i + 1]))
        while j >= 0 and place[j] == i + 1:
            run = max(run, alike(words, i, held, j, word, shift, mask))
            j -= 1
        asked[i] = max(int(asked[i]), run)
    return asked


@njit(cache=True, nogil=True)
def _before(a: np.ndarray, i: int, b: np.ndarray, j: int) -> bool:
    for w in range(a.shape[0]):
        if a[w, i] != b[w, j]:
            return a[w, i] < b[w, j]
    return False


@njit(cache=True, nogil=True)
def weighed_steps(
    words: np.ndarray, deep: np.ndarray, shared: np.ndarray, asked: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps whose period has a weight int32 (m,), what each shares with the one before int8 (m + 1,), -1 at
    both ends, and int64 (levels,): how many contexts of each length are asked for among them."""
    periods, last, n = np.uint64(weight.shape[1] - 1), words.shape[0] - 1, words.shape[1]
    which, common = np.empty(n, dtype=np.int32), np.full(n + 1, -1, dtype=np.int8)
    counts = np.zeros(MOST, dtype=np.int64)
    run, filled, first = MOST, 0, weight[0]
    for i in range(n):
        run = min(run, int(shared[i]))
        if first[words[last, i] & periods] <= 0.0:
            continue
        if filled:
            common[filled] = run
        which[filled] = i
        for level in range(int(common[filled]) + 1, min(int(deep[i]), int(asked[i])) + 1):
            counts[level] += 1
        run = MOST
        filled += 1
    counts[0] = 1
    common[filled] = -1
    return which[:filled], common[: filled + 1], counts


@njit(cache=True, nogil=True)
def build(
    words: np.ndarray,
    times: np.ndarray,
    deep: np.ndarray,
    shared: np.ndarray,
    asked: np.ndarray,
    word: np.ndarray,
    shift: np.ndarray,
    mask: np.ndarray,
    names: np.ndarray,
    target: int,
    weight: np.ndarray,
    size: int,
    continued: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """child, symbol, start, activity, counts (ways, n_pairs), totals (ways, n_nodes) and once_twice.

    weight     float64 (ways, periods, a power of two): what a count of each period is worth, in one way and
               others; what is worth nothing in the first way is not there
    asked      int8 (n,): the longest context of each step that is wanted
    continued  count in how many longer contexts an activity came instead of how often (Kneser and Ney 1995);
               where the case had only begun, how often
    once_twice float64 (levels + 1, 2): pairs of any context of each level that are counted once, and twice;
               only of continued counts
    """
    levels, ways, last = len(word), len(weight), words.shape[0] - 1
    periods, few = np.uint64(weight.shape[1] - 1), 0
    while weight.shape[1] >> few > 1:
        few += 1
    which, common, counts = weighed_steps(words, deep, shared, asked, weight)
    place = np.zeros(levels + 2, dtype=np.int64)
    for level in range(levels + 1):
        place[level + 1] = place[level] + counts[level]
    n_nodes = place[levels + 1]
    child, symbol = np.full(n_nodes + 1, n_nodes, dtype=np.int64), np.zeros(n_nodes, dtype=np.int64)
    first, kinds = np.zeros(n_nodes, dtype=np.int64), np.zeros(n_nodes, dtype=np.int32)
    total, once_twice = np.zeros((ways, n_nodes)), np.zeros((levels + 1, 2))
    lone = np.zeros(levels + 2, dtype=np.int64)  # steps alone from a level on, less those that end there
    activity, value = np.empty(1024, dtype=np.int32), np.empty(1024 * ways)
    room, open_node = np.zeros((levels + 1, size, ways)), np.full(levels + 1, -1, dtype=np.int64)
    touched, seen = np.zeros((levels + 1, size), dtype=np.int32), np.zeros(levels + 1, dtype=np.int64)
    worth, filled = np.empty(ways), 0
    for k in range(len(which)):
        i, before, after = which[k], int(common[k]), int(common[k + 1])
        wanted, depth = int(asked[i]), int(deep[i])
        if not continued:
            depth = min(depth, wanted)
        alone = min(max(before, after, 0), depth)  # its longer contexts are of this step alone
        token = np.int64((words[last, i] & np.uint64(target)) >> np.uint64(few))
        for way in range(ways):
            worth[way] = weight[way, words[last, i] & periods] * times[i]
        if filled + depth + 1 > len(activity):
            activity = grown(activity, filled, filled + depth + 1)
            value = grown(value, filled * ways, len(activity) * ways)
        if continued and depth > alone:
            lone[alone + 1] += 1
            lone[depth] -= 1
            once_twice[depth, 0] += worth[0] == 1.0
            once_twice[depth, 1] += worth[0] == 2.0
        for level in range(before + 1, min(depth, max(alone, wanted)) + 1):
            node = np.int64(-1)
            if level <= wanted:
                node = place[level]
                place[level] += 1
                child[node] = place[level + 1]
                if level > 0:
                    here = np.int64((words[word[level - 1], i] >> shift[level - 1]) & mask[level - 1])
                    symbol[node] = names[here - 1] if level == 2 and len(names) else here
            if level <= alone:
                open_node[level] = node
            elif node >= 0:
                first[node], kinds[node], activity[filled] = filled, 1, token
                for way in range(ways):
                    total[way, node] = worth[way] if level == depth or not continued else 1.0
                    value[filled * ways + way] = total[way, node]
                filled += 1
        if room[alone, token, 0] == 0.0:
            touched[alone, seen[alone]] = token
            seen[alone] += 1
        for way in range(ways):
            room[alone, token, way] += 1.0 if continued and depth > alone else worth[way]
        for level in range(alone, after, -1):
            if filled + seen[level] > len(activity):
                activity = grown(activity, filled, filled + seen[level])
                value = grown(value, filled * ways, len(activity) * ways)
            node = open_node[level]
            _leave(level, node, filled, touched, seen, room, activity, value, total, once_twice, continued)
            if node >= 0:
                first[node], kinds[node] = filled, seen[level]
                filled += seen[level]
            seen[level] = 0
    once_twice[:, 0] += np.cumsum(lone)[: levels + 1]
    start, by_node, counted = _in_order(first, kinds, activity, value, ways)
    return child, symbol, start, by_node, counted, total, once_twice


@njit(cache=True, nogil=True)
def _leave(
    level: int,
    node: int,
    filled: int,
    touched: np.ndarray,
    seen: np.ndarray,
    room: np.ndarray,
    activity: np.ndarray,
    value: np.ndarray,
    total: np.ndarray,
    once_twice: np.ndarray,
    continued: bool,
) -> None:
    """Give what a context counted to the next shorter one, and write it down at `filled` if it is a node."""
    here, many, ways = touched[level], seen[level], room.shape[2]
    if many > 24:
        here[:many].sort()
    else:
        for i in range(1, many):
            token = here[i]
            j = i
            while j > 0 and here[j - 1] > token:
                here[j] = here[j - 1]
                j -= 1
            here[j] = token
    for i in range(many):
        token = here[i]
        if level > 0 and room[level - 1, token, 0] == 0.0:
            touched[level - 1, seen[level - 1]] = token
            seen[level - 1] += 1
        if continued:
            once_twice[level, 0] += room[level, token, 0] == 1.0
            once_twice[level, 1] += room[level, token, 0] == 2.0
        for way in range(ways):
            counted = room[level, token, way]
            room[level, token, way] = 0.0
            if level > 0:
                room[level - 1, token, way] += 1.0 if continued else counted
            if node >= 0:
                value[(filled + i) * ways + way] = counted
                total[way, node] += counted
        if node >= 0:
            activity[filled + i] = token


@njit(cache=True, nogil=True)
def _in_order(
    first: np.ndarray, kinds: np.ndarray, activity: np.ndarray, value: np.ndarray, ways: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """start, activities and counts (ways, n_pairs) of pairs that were written as their contexts closed."""
    n = len(first)
    start = np.zeros(n + 1, dtype=np.int64)
    for node in range(n):
        start[node + 1] = start[node] + kinds[node]
    by_node, counted = np.empty(start[n], dtype=np.int32), np.empty((ways, start[n]))
    for node in range(n):
        shift = first[node] - start[node]
        for p in range(start[node], start[node + 1]):
            by_node[p] = activity[p + shift]
            for way in range(ways):
                counted[way, p] = value[(p + shift) * ways + way]
    return start, by_node, counted


@njit(cache=True, nogil=True)
def find(symbol: int, low: int, high: int, rising: np.ndarray) -> int:
    """Where `symbol` stands in rising[low:high], -1 when it is not there."""
    many = high - low
    if many <= 0:
        return -1
    while many > 1:  # no branch to be guessed wrong: half of the guesses would be
        half = many >> 1
        low += half if rising[low + half] <= symbol else 0
        many -= half
    return low if rising[low] == symbol else -1


@njit(cache=True, nogil=True)
def symbol_at(tokens: np.ndarray, tags: np.ndarray, tagged: bool, end: int, level: int) -> int:
    """The symbol of a prefix by which a context of `level` symbols becomes longer."""
    if not tagged or level == 0:
        return int(tokens[end - level - 1])
    return int(tags[end - 1]) if level == 1 else int(tokens[end - level])


@njit(cache=True, nogil=True)
def descend(
    tokens: np.ndarray,
    tags: np.ndarray,
    tagged: bool,
    start: int,
    end: int,
    levels: int,
    child_start: np.ndarray,
    node_symbol: np.ndarray,
    total: np.ndarray,
    path: np.ndarray,
    known: int = 0,
) -> int:
    """Fill `path` with the nodes of the prefix tokens[start:end], longest last; the longest level seen.

    known  levels for which it is filled already
    """
    path[0] = 0
    found = known
    there = min(levels, end - start + (1 if tagged else 0))
    while found < there:
        node, wanted = path[found], symbol_at(tokens, tags, tagged, end, found)
        child = find(wanted, child_start[node], child_start[node + 1], node_symbol)
        if child < 0 or total[child] <= 0:
            break
        found += 1
        path[found] = child
    return found
