'use strict';

// Drives the JavaScript checkpoint store for the tests: one JSON request per line in, one JSON answer per line out.

const readline = require('readline');
const { BlobCheckpointStore } = require('@azure/eventhubs-checkpointstore-blob');
const { ContainerClient } = require('@azure/storage-blob');

const stores = new Map();

function storeOf(container) {
  if (!stores.has(container)) {
    stores.set(container, new BlobCheckpointStore(new ContainerClient(process.env.INTEROP_CONNECTION_STRING, container)));
  }
  return stores.get(container);
}

const ownershipTo = (o) => ({
  partition: o.partitionId, owner: o.ownerId, etag: o.etag, modified: o.lastModifiedTimeInMs && Math.floor(o.lastModifiedTimeInMs / 1000),
});

async function answer(request) {
  const store = storeOf(request.container);
  const scope = { fullyQualifiedNamespace: request.namespace, eventHubName: request.hub, consumerGroup: request.group };
  const names = [request.namespace, request.hub, request.group];
  const claim = async (owner) => {
    const claims = request.ownerships.map((o) => ({ ...scope, partitionId: o.partition, ownerId: owner(o), etag: o.etag }));
    return { ownerships: (await store.claimOwnership(claims)).map(ownershipTo) };
  };
  switch (request.call) {
    case 'list-ownership':
      return { ownerships: (await store.listOwnership(...names)).map(ownershipTo) };
    case 'claim':
      return claim((o) => o.owner);
    case 'relinquish': // as EventHubConsumerClient does when it is closed
      return claim(() => '');
    case 'update-checkpoint':
      for (const c of request.checkpoints) {
        const sequenceNumber = c.sequenceNumber === undefined ? undefined : Number(c.sequenceNumber);
        await store.updateCheckpoint({ ...scope, partitionId: c.partition, offset: c.offset, sequenceNumber });
      }
      return {};
    case 'list-checkpoints':
      return {
        checkpoints: (await store.listCheckpoints(...names)).map((c) => ({
          partition: c.partitionId, offset: c.offset, sequenceNumber: BigInt(c.sequenceNumber).toString(),
        })),
      };
    default:
      throw new Error('unknown call ' + request.call);
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let reply;
    try {
      reply = await answer(JSON.parse(line));
    } catch (error) {
      reply = { error: String(error).replace(/\s+/g, ' ') };
    }
    console.log(JSON.stringify(reply));
  }
}

main();
