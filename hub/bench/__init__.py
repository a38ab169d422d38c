"""`manage.py bench`: the hub beside what people would use instead, in one run, on servers of its own."""
