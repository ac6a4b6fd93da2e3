"""Files of genomics to arrays: sequence, annotation, expression. Knows no torch and no layer above."""
