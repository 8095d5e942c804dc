"""Result records and the pages made from them."""
