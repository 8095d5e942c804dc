"""Does this machine give the numbers others got, and do the metrics see what they are meant to see?"""
