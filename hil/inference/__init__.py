"""Inference evaluation: what a correction wins or costs in the accuracy of a network.

A trained network is mapped onto cores, its layers are multiplied by a chip, a model of it or
exactly, and the same images are judged with each correction. torch is an extra (`inference`), and
is imported where it is used.

Packages, each importing only from those below it::

    evaluations     a whole evaluation, from what was asked for to what it found
    findings        its numbers, where the loss comes from, and the files that hold it
    conditions      what a network predicts under one correction, age and treatment
    corrections     how cores are calibrated, and what corrects their counts
    computing       a network computed with its layers on cores; the back ends
    placing         layers as int8 codes, and as tiles on cores
    networks        trained networks, read and checked; image_data, labelled images

`demo` trains a network on the spot, `libraries` imports torch; `age_words` and `failed_reads` find
words for ages and refusals.
"""
