"""A planted regulatory genome: TFs, enhancers, cell types, accessibility, marks, expression and single cells.

`config` says how much; `motifs` and `activity` make the TFs and where they act; `genome` lays genes and elements and
writes the sites into the DNA; `rules` read binding, accessibility and expression off the sequence; `edits` knock TFs
out and in and change bases; `cells` draws counts and fragments, `tracks` draws bulk signal; `truth` and `crispr` make
the answers; `multiome`, `files` and `write` put it all into a folder.
"""
