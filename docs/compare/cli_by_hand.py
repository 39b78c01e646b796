import argparse

import work

parser = argparse.ArgumentParser()
parser.add_argument("path")
print(work.top(work.words(work.text(parser.parse_args().path))))
