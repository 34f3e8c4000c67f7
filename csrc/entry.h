/* One pair's entries in the table of an instruction set: see family.h. */
#if ROW_IS_UINT8
#define ROW_TYPE FASTLIN_UINT8
#else
#define ROW_TYPE (sizeof(ROW) == 8 ? FASTLIN_FLOAT64 : FASTLIN_FLOAT32)
#endif
#if defined(COLUMN)
#define COLUMN_TYPE (sizeof(COLUMN) == 8 ? FASTLIN_INT64 : FASTLIN_INT32)
#else
#define COLUMN_TYPE NO_COLUMNS
#endif
#define WEIGHT_TYPE (WEIGHT_IS_DOUBLE ? FASTLIN_FLOAT64 : FASTLIN_FLOAT32)

{ROW_TYPE, WEIGHT_TYPE, COLUMN_TYPE, MATRIX_UNIT, false, NAME(descend),
#if MATRIX_UNIT
 NULL},
#else
 NAME(pass)},
#endif
#if !MATRIX_UNIT && !defined(COLUMN)
    {ROW_TYPE, WEIGHT_TYPE, COLUMN_TYPE, MATRIX_UNIT, true, NAME(many_descend), NAME(many_pass)},
#endif

#undef ROW_TYPE
#undef COLUMN_TYPE
#undef WEIGHT_TYPE
