"""Files of genomics to arrays: sequence, annotation, expression. Knows no torch and nothing of the layers above."""
