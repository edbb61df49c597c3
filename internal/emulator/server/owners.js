'use strict';

// Who reads what. A reader is {sender, partition, group, epoch, name, next}: epoch is undefined for a reader without
// an owner level, name is what the client calls itself, and next is the index of the event to be sent next.

const { error } = require('./faults.js');

const STOLEN = 'amqp:link:stolen';

class Owners {
    constructor() {
        this.readers = new Map(); // by sender
    }

    // admit adds a reader and detaches those that it displaces, or returns the error with which it is refused.
    admit(reader) {
        const peers = this.of(reader.partition).filter(r => r.group === reader.group);
        const holder = peers.find(r => r.epoch !== undefined);
        if (holder && reader.epoch === undefined) {
            return error(STOLEN, `At least one receiver for the endpoint is created with epoch of '${holder.epoch}', and so non-epoch receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.`);
        }
        if (holder && reader.epoch < holder.epoch) {
            return error(STOLEN, `Receiver '${holder.name}' with a higher epoch '${holder.epoch}' already exists. Receiver '${reader.name}' with epoch ${reader.epoch} cannot be created. Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or disconnected.`);
        }
        if (reader.epoch !== undefined) {
            peers.forEach(peer => this.displace(peer, reader)); // one with an epoch, or any number without
        }
        this.readers.set(reader.sender, reader);
        reader.partition.counters.add('opened');
        return undefined;
    }

    // displace detaches a reader in favor of another one, of which only the name and the epoch count.
    displace(reader, { name, epoch }) {
        this.forget(reader);
        reader.partition.counters.add('stolen');
        reader.sender.close(error(STOLEN, `New receiver '${name}' with higher epoch of '${epoch}' is created hence current receiver '${reader.name}' with epoch '${reader.epoch}' is getting disconnected. If you are recreating the receiver, make sure a higher epoch is used.`));
    }

    // of returns the readers of a partition.
    of(partition) {
        return [...this.readers.values()].filter(r => r.partition === partition);
    }

    forget(reader) {
        if (this.readers.delete(reader.sender)) {
            reader.partition.counters.add('closed');
        }
    }

    // remove forgets the readers for which gone is true.
    remove(gone) {
        for (const reader of this.readers.values()) {
            if (gone(reader.sender)) {
                this.forget(reader);
            }
        }
    }
}

module.exports = { Owners };
