"""The book of each chip: what was ever done to it, on this computer, in files that only grow.

::

    place          where the books are
    chip_key       which chip a book is of, and the name of its file
    entry          what can be written, one frozen class per event
    line           one entry as a line of text, with its number and check sum
    content        a whole book, with what is wrong in it
    book           appending and reading, under a lock
    library        all the books of a folder
    totals         sums over a book
    wear           hard limits on programming
    facts          what a campaign and a finished step are, for a book
    campaign_book  what a running campaign writes
"""
