'use strict';

// The AMQP side: connections of consumers, their request links and their readers.

const rhea = require('rhea');
const { Owners, error } = require('./owners.js');
const { answer, reply } = require('./requests.js');
const { event } = require('./encode.js');

const REQUEST_NODES = ['$cbs', '$management'];
const MAX_BATCH = 500; // events for one reader before others have their turn
const PRESETTLED = 1;

class Hub {
    constructor(name, partitions) {
        this.name = name;
        this.partitions = partitions; // by id
        this.created = new Date();
        this.owners = new Owners();
        this.container = rhea.create_container({ id: 'eventhubs-emulator' });
        const on = (events, handler) => events.split(' ').forEach(e => this.container.on(e, handler));
        on('sender_open', context => this.openSender(context.sender));
        on('receiver_open', context => this.openReceiver(context.receiver));
        on('message', context => this.request(context));
        on('sender_flow', context => this.pumpSender(context.sender));
        on('sender_draining', context => context.sender.set_drained(true));
        on('sender_close sender_error', context => this.owners.remove(s => s === context.sender));
        on('session_close session_error', context => this.owners.remove(s => s.session === context.session));
        on('connection_close connection_error disconnected', context => this.owners.remove(s => s.connection === context.connection));
        on('receiver_close receiver_error', () => {});
        on('error protocol_error', reason => console.error('connection dropped:', reason));
    }

    // listen calls ready with the port.
    listen(ready) {
        const server = this.container.listen({ port: 0, host: '127.0.0.1', tcp_no_delay: true, reconnect: false });
        server.on('connection', socket => {
            socket.on('close', () => this.owners.remove(s => s.connection.socket === socket));
        });
        server.on('listening', () => ready(server.address().port));
    }

    openSender(sender) {
        const source = sender.source || {};
        const address = String(source.address);
        sender.set_source({ address });
        sender.set_target({ address: (sender.target || {}).address });
        sender.local.attach.snd_settle_mode = PRESETTLED;
        if (REQUEST_NODES.includes(address)) {
            return;
        }
        const refusal = this.openReader(sender, address, source.filter);
        if (refusal) {
            sender.close(refusal);
        }
    }

    openReceiver(receiver) {
        const address = String((receiver.target || {}).address);
        receiver.set_source({ address: (receiver.source || {}).address });
        receiver.set_target({ address });
        if (!REQUEST_NODES.includes(address)) {
            receiver.close(error('amqp:not-implemented', `nothing can be sent to ${address}`));
        }
    }

    // openReader admits the reader of a partition, or returns the error with which it is refused.
    openReader(sender, address, filter) {
        const parts = /^([^/]+)\/consumergroups\/([^/]+)\/partitions\/([^/]+)$/i.exec(address);
        if (!parts || parts[1].toLowerCase() !== this.name.toLowerCase()) {
            return error('amqp:not-found', `no entity ${address}`);
        }
        const partition = this.partitions.get(parts[3]);
        if (!partition) {
            return error('com.microsoft:argument-out-of-range', `no partition ${parts[3]}`);
        }
        const selector = selectorOf(filter);
        const next = partition.start(selector);
        if (next === undefined) {
            partition.stats.refused++;
            return error('com.microsoft:argument-error', `filter ${selector} is not understood`);
        }
        const epoch = (sender.properties || {})['com.microsoft:epoch'];
        const reader = { sender, partition, group: parts[2].toLowerCase(), epoch, next };
        const refusal = this.owners.admit(reader);
        if (refusal) {
            partition.stats.refused++;
        } else {
            partition.stats.opened++;
        }
        return refusal;
    }

    request(context) {
        const { message, receiver, connection } = context;
        const address = receiver.target.address;
        const to = connection.find_sender(s => s.is_sender() && s.is_open() && s.target && s.target.address === message.reply_to);
        if (to) {
            to.send(reply(message, answer(this, address, message)));
        }
    }

    // pump sends to every reader what it has credit for.
    pump() {
        for (const reader of this.owners.readers) {
            this.pumpReader(reader);
        }
    }

    pumpSender(sender) {
        for (const reader of this.owners.readers) {
            if (reader.sender === sender) {
                this.pumpReader(reader);
            }
        }
    }

    pumpReader(reader) {
        const { sender, partition } = reader;
        if (reader.next >= partition.count || !sender.is_open()) {
            return;
        }
        // What is queued has not used up credit yet, and must not outlive a detach: queue only what goes out at once.
        const outgoing = sender.session.outgoing;
        const queued = outgoing.next_delivery_id - outgoing.next_pending_delivery;
        const room = Math.min(sender.credit, outgoing.transfer_window(), MAX_BATCH) - queued;
        const end = Math.min(partition.count, reader.next + room);
        while (reader.next < end) {
            sender.send(event(partition, reader.next));
            reader.next++;
            partition.stats.sent++;
        }
    }
}

// selectorOf returns the text of the selector among the filters of a source; without one, reading starts at the end.
function selectorOf(filter) {
    const described = (filter || {})['apache.org:selector-filter:string'];
    if (described === undefined || described === null) {
        return "amqp.annotation.x-opt-offset > '@latest'";
    }
    return String(described.value === undefined ? described : described.value);
}

module.exports = { Hub };
