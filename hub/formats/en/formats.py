"""How lists and forms of the admin write moments: as the console's own pages do, in UTC, to the second, without a.m. and p.m."""

DATETIME_FORMAT = "Y-m-d H:i:s"
DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i:s"
