/* Panels, into which the kernels of dense rows cut the rows of each batch. */

/* A panel: up to PANEL rows of a batch. */
typedef struct {
    int64_t first, n_rows; /* position of the first; n_rows is 0 after the last panel */
    int64_t step, n_batch_rows;
    bool begins_batch, ends_batch;
    const ROW *const
        *rows; /* few classes: [PANEL + 8]; entries from n_rows on repeat the last row */
} NAME(panel);

/* The panel of at most so many rows that begins at a position, without its rows. */
static NAME(panel) NAME(bounds_of_panel)(const request *ask, int64_t first, int64_t most_rows) {
    if (first >= ask->n_order) return (NAME(panel)){.first = first};
    int64_t step = first / ask->batch_size, batch_first = step * ask->batch_size;
    int64_t n_batch_rows = batch_rows(ask, batch_first);
    int64_t n_rows = at_most(batch_first + n_batch_rows - first, most_rows);
    return (NAME(panel)){.first = first,
                         .n_rows = n_rows,
                         .step = step,
                         .n_batch_rows = n_batch_rows,
                         .begins_batch = first == batch_first,
                         .ends_batch = first + n_rows == batch_first + n_batch_rows};
}
