/* The sizes of the tiles of many classes, and how the numbers of a tile change places. */

/* Vectors of a slice of classes. */
#define MOST_WIDE 3
/* Rows, or features, of a micro-kernel. Its sums, this times MOST_WIDE, leave registers for one row
 * of a slice and one broadcast number. */
#define GROUP (REGISTERS >= 32 ? 8 : 4)
/* Rows that lie in turn in a panel, a multiple of GROUP. */
#define BUNDLE 8

/* Lane of the shuffled pair (a, b) that comes to a lane of a's and b's lanes in turn; `half`: 0 for
 * the lower lanes, 1 for the upper ones. */
#define IN_TURN(lane, half) ((lane) % 2 * LANES + (lane) / 2 + (half) * (LANES / 2))

/* Lay the lanes of n vectors, a power of two, in turn: [vector][lane] becomes [lane][vector]. */
INLINE void NAME(transpose)(const int n, V *a) {
    UNROLL for (int done = 1; done < n; done *= 2) {
        V b[LANES > BUNDLE ? LANES : BUNDLE];
        UNROLL for (int i = 0; i < n / 2; i++) {
            b[2 * i] = SHUFFLE(I, a[i], a[i + n / 2], EACH_LANE(IN_TURN, 0));
            b[2 * i + 1] = SHUFFLE(I, a[i], a[i + n / 2], EACH_LANE(IN_TURN, 1));
        }
        UNROLL for (int i = 0; i < n; i++)
            a[i] = b[i];
    }
}

INLINE void NAME(store)(WEIGHT *p, V v) {
    *(NAME(unaligned) *)p = v;
}
