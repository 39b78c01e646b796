import argparse

import work
from dask import delayed

parser = argparse.ArgumentParser()
parser.add_argument("path")
text = delayed(work.text)(parser.parse_args().path)
print(delayed(work.top)(delayed(work.words)(text)).compute())
