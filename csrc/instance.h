/* The kernels of one pair of types, of sparse rows if COLUMN is the type of their columns.
 *
 * MANY_CLASSES tells those of many classes from the others.
 *
 * Every name that is defined here or in the included files is undefined again, or made by NAME, so
 * that the next pair can define its own. */
#include "vector.h"
#include "load.h"

/* Rows whose losses are computed together. Dense: few enough to stay in a core's cache from phase A
 * to phase C. Sparse: one vector of rows. */
#if defined(COLUMN)
#define PANEL LANES
#else
#define PANEL 128
#endif
#include "loss.h"
#include "step.h"

#if defined(COLUMN)
#include "sparse/layout.h"
#include "sparse/mixture.h"
#include "sparse/dot.h"
#include "sparse/phases.h"
#include "sparse/run.h"
#define PASS(name) NAME(name)
#include "pass.h"
#undef PASS
#undef MOST_VECTORS
#undef MAKE_VALUES
#undef EACH_WIDTH
#undef SHAPE
#undef RUN
#undef OWN
#elif defined(MANY_CLASSES)
#include "dense/panel.h"
#include "many_classes/tiles.h"
#include "many_classes/layout.h"
#include "many_classes/memory.h"
#include "many_classes/rows.h"
#include "many_classes/products.h"
#include "many_classes/softmax.h"
#include "many_classes/phases.h"
#include "many_classes/run.h"
#define PASS(name) NAME(many_##name)
#include "pass.h"
#undef PASS
#undef BUNDLE
#undef BUNDLES_OF_A_FETCH
#undef FEATURES_OF_A_SUM
#undef GROUP
#undef IN_TURN
#undef MANY_OWN
#undef MANY_RUN
#undef MANY_SHAPE
#undef MOST_ROWS
#undef MOST_WIDE
#undef PANELS_OF_A_SUM
#else
#include "dense/layout.h"
#include "dense/memory.h"
#include "dense/tiles.h"
#include "dense/panel.h"
#include "dense/phases.h"
#if MATRIX_UNIT
#include "matrix_unit/operands.h"
#include "matrix_unit/products.h"
#include "matrix_unit/phases.h"
#else
#include "dense/panels.h"
#endif
#include "dense/run.h"
#if !MATRIX_UNIT
#define PASS(name) NAME(name)
#include "pass.h"
#undef PASS
#endif
#undef EACH_SHAPE
#undef ROWS_IN_REGISTER
#undef MOST_SUMS
#undef MOST_AT_ONCE
#undef SHAPE
#undef RUN
#undef OWN
#endif

#undef PANEL
#undef LANES
#undef EACH_LANE
#undef MANTISSA_BITS
#undef EXP_LOWEST
#undef EXP_TERMS
#undef LOG_TERMS
#undef V
#undef I
#undef UPPER
#undef KEPT
#undef MOVED
#undef EACH_2
#undef EACH_4
#undef EACH_8
#undef EACH_16
#undef FOLD
