'use strict';

// The AMQP side: connections of consumers, their request links and their readers.

const rhea = require('rhea');
const { Owners } = require('./owners.js');
const { Faults, error, EVERYTHING, MANAGEMENT, partitionTarget } = require('./faults.js');
const { Counters } = require('./counters.js');
const { answer, denied, reply } = require('./requests.js');
const { event } = require('./encode.js');

const TOKENS_NODE = '$cbs';
const MANAGEMENT_NODE = '$management';
const REQUEST_NODES = [TOKENS_NODE, MANAGEMENT_NODE];
const MAX_BATCH = 500; // events for one reader before others have their turn
const PRESETTLED = 1;

class Hub {
    constructor(name, partitions) {
        this.name = name;
        this.partitions = partitions; // by id
        this.created = new Date();
        this.owners = new Owners();
        this.faults = new Faults();
        this.held = []; // {target, link, go}: what goes on when its target hangs no more
        this.sockets = new Set();
        this.requests = new Counters('answered', 'refused', 'held'); // on $management
        this.connections = new Counters('accepted', 'held');
        this.container = rhea.create_container({ id: 'eventhubs-emulator' });
        const on = (events, handler) => events.split(' ').forEach(e => this.container.on(e, handler));
        on('sender_open', context => this.openSender(context.sender));
        on('receiver_open', context => this.openReceiver(context.receiver));
        on('message', context => this.request(context));
        on('sender_flow', context => this.pumpReader(this.owners.readers.get(context.sender)));
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
            this.sockets.add(socket);
            socket.on('close', () => {
                this.sockets.delete(socket);
                this.owners.remove(s => s.connection.socket === socket);
            });
            this.connections.add('accepted');
            if (this.faults.hangs(EVERYTHING)) {
                silence(socket);
                this.connections.add('held');
            }
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
            this.refuseManagement(sender, address);
            return;
        }
        const parts = /^([^/]+)\/consumergroups\/([^/]+)\/partitions\/([^/]+)$/i.exec(address);
        if (!parts || parts[1].toLowerCase() !== this.name.toLowerCase()) {
            refuse(sender, error('amqp:not-found', `The messaging entity '${address}' could not be found.`));
            return;
        }
        const partition = this.partitions.get(parts[3]);
        if (!partition) {
            refuse(sender, error('com.microsoft:argument-out-of-range', `The specified partition is invalid for an EventHub partition sender or receiver: ${parts[3]}.`));
            return;
        }
        const target = partitionTarget(partition.id);
        const open = () => this.openReader(sender, partition, parts[2].toLowerCase(), source.filter);
        if (!this.faults.hangs(target)) {
            open();
            return;
        }
        withhold(sender);
        this.held.push({ target, link: sender, go: () => { sender.open(); open(); } });
        partition.counters.add('held');
    }

    openReceiver(receiver) {
        const address = String((receiver.target || {}).address);
        receiver.set_source({ address: (receiver.source || {}).address });
        receiver.set_target({ address });
        if (!REQUEST_NODES.includes(address)) {
            refuse(receiver, error('amqp:not-implemented', `nothing can be sent to ${address}`));
            return;
        }
        this.refuseManagement(receiver, address);
    }

    // refuseManagement refuses a request link if management is denied.
    refuseManagement(link, address) {
        const condition = address === MANAGEMENT_NODE ? this.faults.denialOf(MANAGEMENT) : undefined;
        if (condition) {
            refuse(link, error(condition, `denied: ${address}`));
            this.requests.add('refused');
        }
    }

    // openReader admits or refuses the reader of a partition.
    openReader(sender, partition, group, filter) {
        const properties = sender.properties || {};
        const epoch = properties['com.microsoft:epoch'];
        const name = properties['com.microsoft:receiver-name'] || 'nil';
        const denial = this.faults.denialOf(partitionTarget(partition.id));
        const position = partition.start(selectorOf(filter));
        let refusal = denial ? error(denial, `denied: partition ${partition.id}`) : position.error;
        if (!refusal) {
            refusal = this.owners.admit({ sender, partition, group, epoch, name, next: position.next });
        }
        if (refusal) {
            refuse(sender, refusal);
            partition.counters.add('refused');
        }
    }

    request({ message, receiver, connection }) {
        const address = receiver.target.address;
        if (address !== MANAGEMENT_NODE) {
            send(connection, message, answer(this, address, message));
            return;
        }
        const go = () => {
            const condition = this.faults.denialOf(MANAGEMENT);
            send(connection, message, condition ? denied(condition) : answer(this, address, message));
            this.requests.add(condition ? 'refused' : 'answered');
        };
        if (!this.faults.hangs(MANAGEMENT)) {
            go();
            return;
        }
        this.held.push({ target: MANAGEMENT, link: receiver, go });
        this.requests.add('held');
    }

    hang(target) {
        this.faults.hung.add(target);
        if (target === EVERYTHING) {
            this.sockets.forEach(silence);
        }
    }

    resume(target) {
        this.faults.hung.delete(target);
        if (target === EVERYTHING) {
            this.sockets.forEach(unsilence);
        }
        const held = this.held;
        this.held = held.filter(h => this.faults.hangs(h.target));
        held.filter(h => !this.faults.hangs(h.target) && h.link.is_remote_open()).forEach(h => h.go());
        this.pump();
    }

    // steal detaches the readers of a partition and returns how many there were.
    steal(partition) {
        const readers = this.owners.of(partition);
        readers.forEach(r => this.owners.displace(r, { name: 'thief', epoch: r.epoch === undefined ? 0 : r.epoch }));
        return readers.length;
    }

    // drop ends all connections and returns how many there were.
    drop() {
        const n = this.sockets.size;
        this.sockets.forEach(socket => socket.destroy());
        this.sockets.clear();
        this.owners.remove(() => true);
        this.held = [];
        return n;
    }

    // pump sends to every reader what it has credit for.
    pump() {
        for (const reader of this.owners.readers.values()) {
            this.pumpReader(reader);
        }
    }

    pumpReader(reader) {
        if (!reader || reader.next >= reader.partition.count || !reader.sender.is_open()) {
            return;
        }
        const { sender, partition } = reader;
        if (this.faults.hangs(partitionTarget(partition.id))) {
            return;
        }
        // What is queued has not used up credit yet, and must not outlive a detach: queue only what goes out at once.
        const outgoing = sender.session.outgoing;
        const queued = outgoing.next_delivery_id - outgoing.next_pending_delivery;
        const room = Math.min(sender.credit, outgoing.transfer_window(), MAX_BATCH) - queued;
        const first = reader.next;
        const end = Math.min(partition.count, first + room);
        while (reader.next < end) {
            sender.send(event(partition, reader.next));
            reader.next++;
        }
        if (reader.next > first) {
            partition.counters.add('sent', reader.next - first);
        }
    }
}

// refuse answers an attach as Event Hubs does: with an attach that has neither source nor target, and a detach.
function refuse(link, reason) {
    link.local.attach.source = null;
    link.local.attach.target = null;
    link.close(reason);
}

// withhold takes back the attach with which rhea answers one in the next tick. link.open() makes up for it.
function withhold(link) {
    link.state.local_open = false;
    link.state.open_requests = 0;
}

// silence makes a connection accept what is sent to it, read nothing of it and send nothing.
function silence(socket) {
    socket.pause();
    socket.cork();
}

function unsilence(socket) {
    socket.uncork();
    socket.resume();
}

// send answers a request on the link that the request names, if that is still there.
function send(connection, message, response) {
    const to = connection.find_sender(s => s.is_sender() && s.is_open() && s.target && s.target.address === message.reply_to);
    if (to) {
        to.send(reply(message, response));
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
