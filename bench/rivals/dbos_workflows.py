"""DBOS in one process: workflows of five steps that do nothing, per second. Arguments: address of the database, number, at once."""

import json
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS

url, number, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
logging.disable(logging.CRITICAL)
DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False})


@DBOS.step()
def nothing():
    return None


@DBOS.workflow()
def five():
    for _ in range(5):
        nothing()


DBOS.launch()
five()
started = time.perf_counter()
if at_once == 1:
    taken = []
    for _ in range(number):
        began = time.perf_counter()
        five()
        taken.append(time.perf_counter() - began)
    figure = sorted(taken)[number // 2] * 1000
else:
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda _: five(), range(number)))
    figure = number / (time.perf_counter() - started)
print(json.dumps({"figure": figure, "units": number}))
DBOS.destroy()
