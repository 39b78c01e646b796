import argparse

import work
from hamilton import driver

parser = argparse.ArgumentParser()
parser.add_argument("path")
dr = driver.Builder().with_modules(work).build()
print(dr.execute(["top"], inputs={"path": parser.parse_args().path})["top"])
