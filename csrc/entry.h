/* One pair's entries in the table of an instruction set: see family.h. */
#if defined(COLUMN)
#define COLUMN_TYPE (sizeof(COLUMN) == 8 ? FASTLIN_INT64 : FASTLIN_INT32)
#else
#define COLUMN_TYPE NO_COLUMNS
#endif
#define WEIGHT_TYPE (WEIGHT_IS_DOUBLE ? FASTLIN_FLOAT64 : FASTLIN_FLOAT32)

#if defined(MANY_CLASSES)
#define ENTRY(row_type) \
    {row_type, WEIGHT_TYPE, COLUMN_TYPE, MATRIX_UNIT, true, NAME(many_descend), NAME(many_pass)}
ENTRY(FASTLIN_UINT8), ENTRY(FASTLIN_INT8), ENTRY(FASTLIN_FLOAT16), ENTRY(FASTLIN_FLOAT32),
#if WEIGHT_IS_DOUBLE
    ENTRY(FASTLIN_FLOAT64),
#endif
#undef ENTRY
#elif MATRIX_UNIT
{ROW_TYPE, WEIGHT_TYPE, COLUMN_TYPE, MATRIX_UNIT, false, NAME(descend), NULL},
#else
{ROW_TYPE, WEIGHT_TYPE, COLUMN_TYPE, MATRIX_UNIT, false, NAME(descend), NAME(pass)},
#endif

#undef COLUMN_TYPE
#undef WEIGHT_TYPE
