/* One pair's entry in the table of an instruction set: see family.h. */
{
#if ROW_IS_UINT8
    FASTLIN_UINT8,
#else
    sizeof(ROW) == 8 ? FASTLIN_FLOAT64 : FASTLIN_FLOAT32,
#endif
    WEIGHT_IS_DOUBLE ? FASTLIN_FLOAT64 : FASTLIN_FLOAT32,
#if defined(COLUMN)
    sizeof(COLUMN) == 8 ? FASTLIN_INT64 : FASTLIN_INT32,
#else
    NO_COLUMNS,
#endif
    MATRIX_UNIT,
    NAME(descend),
#if MATRIX_UNIT
    NULL,
#else
    NAME(pass),
#endif
},
