"""Search a server with several images at the same time. Start one first: `trireid serve`.

python examples/async_client.py [URL [GALLERY [IMAGE ...]]]
"""

import asyncio
import sys

from trireid import AsyncClient, Sample, ServiceError
from trireid.samples.sources import open_source

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:3000"
gallery = sys.argv[2] if len(sys.argv) > 2 else "person"
queries = [Sample(rgb=path) for path in sys.argv[3:]]
if not queries:
    queries = [entry.sample for entry in open_source("synthetic:person:2") if entry.sample]


async def main() -> None:
    async with AsyncClient(url, retries=0) as client:
        answers = await asyncio.gather(*(client.search(query, gallery, k=1) for query in queries))
    for number, answer in enumerate(answers):
        hits = [f"{hit.identity or hit.id} ({hit.score:.3f})" for hit in answer.hits]
        print(f"image {number}: {', '.join(hits) or 'no hits'}")


try:
    asyncio.run(main())
except ServiceError as error:
    sys.exit(f"{error}; start a server with: trireid serve")
