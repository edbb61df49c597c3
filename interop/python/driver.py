"""Drives a Python checkpoint store for the tests: one JSON request per line in, one JSON answer per line out.

The argument is "sync" (azure-eventhub-checkpointstoreblob) or "aio" (azure-eventhub-checkpointstoreblob-aio).
"""

import asyncio
import inspect
import json
import os
import sys

if sys.argv[1] == "aio":
    from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore
else:
    from azure.eventhub.extensions.checkpointstoreblob import BlobCheckpointStore

CONNECTION_STRING = os.environ["INTEROP_CONNECTION_STRING"]
stores = {}


def store_of(container):
    if container not in stores:
        stores[container] = BlobCheckpointStore.from_connection_string(CONNECTION_STRING, container)
    return stores[container]


async def wait_for(result):
    return await result if inspect.isawaitable(result) else result


def ownership_from(request, o, owner):
    ownership = {
        "fully_qualified_namespace": request["namespace"],
        "eventhub_name": request["hub"],
        "consumer_group": request["group"],
        "partition_id": o["partition"],
        "owner_id": owner,
    }
    if o.get("etag"):
        ownership["etag"] = o["etag"]
    return ownership


def ownership_to(o):
    ownership = {"partition": o["partition_id"], "owner": o["owner_id"], "etag": o.get("etag")}
    modified = o.get("last_modified_time")
    if modified:
        ownership["modified"] = int(modified)
    return ownership


def checkpoint_from(request, c):
    number = c.get("sequenceNumber")
    return {
        "fully_qualified_namespace": request["namespace"],
        "eventhub_name": request["hub"],
        "consumer_group": request["group"],
        "partition_id": c["partition"],
        "offset": c.get("offset"),
        "sequence_number": None if number is None else int(number),
    }


def checkpoint_to(c):
    return {"partition": c["partition_id"], "offset": c["offset"], "sequenceNumber": str(c["sequence_number"])}


async def answer(request):
    store = store_of(request["container"])
    scope = (request["namespace"], request["hub"], request["group"])
    call = request["call"]
    if call == "list-ownership":
        return {"ownerships": [ownership_to(o) for o in await wait_for(store.list_ownership(*scope))]}
    if call in ("claim", "relinquish"):  # the package's processor relinquishes by an empty owner
        claims = [
            ownership_from(request, o, o["owner"] if call == "claim" else "") for o in request["ownerships"]
        ]
        return {"ownerships": [ownership_to(o) for o in await wait_for(store.claim_ownership(claims))]}
    if call == "update-checkpoint":
        for c in request["checkpoints"]:
            await wait_for(store.update_checkpoint(checkpoint_from(request, c)))
        return {}
    if call == "list-checkpoints":
        return {"checkpoints": [checkpoint_to(c) for c in await wait_for(store.list_checkpoints(*scope))]}
    raise ValueError("unknown call " + call)


async def close():
    for store in stores.values():
        await wait_for(store.close())


def main():
    loop = asyncio.new_event_loop()
    for line in sys.stdin:
        try:
            reply = loop.run_until_complete(answer(json.loads(line)))
        except Exception as error:  # the tests decide what it means
            reply = {"error": " ".join(repr(error).split())}
        print(json.dumps(reply), flush=True)
    loop.run_until_complete(close())
    loop.close()


main()
