'use strict';

// Who reads what. A reader is {sender, partition, group, epoch, next}: epoch is undefined for a reader without an
// owner level, and next is the index of the event to be sent next.

const STOLEN = 'amqp:link:stolen';
const NOT_ALLOWED = 'amqp:not-allowed';

class Owners {
    constructor() {
        this.readers = new Set();
    }

    // admit adds a reader and detaches those that it displaces, or returns the error with which it is refused.
    admit(reader) {
        const peers = [...this.readers].filter(r => r.partition === reader.partition && r.group === reader.group);
        const holder = peers.find(r => r.epoch !== undefined);
        if (holder && reader.epoch === undefined) {
            return error(NOT_ALLOWED, `a receiver with epoch '${holder.epoch}' exists, so a receiver without epoch is not allowed`);
        }
        if (holder && reader.epoch < holder.epoch) {
            return error(STOLEN, `receiver with a higher epoch '${holder.epoch}' already exists, receiver with epoch '${reader.epoch}' cannot be created`);
        }
        if (reader.epoch !== undefined) {
            for (const peer of peers) { // one with an epoch, or any number without
                this.readers.delete(peer);
                reader.partition.stats.stolen++;
                peer.sender.close(error(STOLEN, `new receiver with epoch '${reader.epoch}' is created hence current receiver is getting disconnected`));
            }
        }
        this.readers.add(reader);
        return undefined;
    }

    // remove forgets the readers for which gone is true.
    remove(gone) {
        for (const reader of this.readers) {
            if (gone(reader.sender)) {
                this.readers.delete(reader);
            }
        }
    }
}

function error(condition, description) {
    return { condition, description };
}

module.exports = { Owners, error };
