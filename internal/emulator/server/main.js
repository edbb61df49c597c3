'use strict';

// An Event Hubs emulator for tests. Its only argument is {"hub", "partitions", "events", "first", "rate"} in JSON.
// It prints {"port"} when it listens, and then answers the JSON lines on stdin, {"id", "op", …}, each with a line that
// has the same id; "await" is answered when it is time. It ends with stdin.

const readline = require('readline');
const { Hub } = require('./hub.js');
const { Partition } = require('./partition.js');
const { EVERYTHING, MANAGEMENT, PARTITIONS, partitionTarget } = require('./faults.js');

const TICK = 20; // milliseconds

const options = JSON.parse(process.argv[2]);
const partitions = new Map();
for (let i = 0; i < options.partitions; i++) {
    partitions.set(String(i), new Partition(String(i), BigInt(options.first), options.events));
}
const hub = new Hub(options.hub, partitions);

let rate = options.rate; // events per second and partition
let since = Date.now();
let due = 0;

function setRate(r) {
    rate = r;
    since = Date.now();
    due = 0;
}

// tick appends what the rate asks for, and serves readers that could not take everything at once.
function tick() {
    const now = Date.now();
    due += rate * (now - since) / 1000;
    since = now;
    const whole = Math.floor(due);
    due -= whole;
    if (whole > 0) {
        partitions.forEach(p => p.append(whole));
    }
    hub.pump();
}

// partitionOf returns a partition that a command names.
function partitionOf(id) {
    const partition = partitions.get(id);
    if (!partition) {
        throw new Error(`no partition ${id}`);
    }
    return partition;
}

// checked returns a target as it is, after a look whether its partition is there.
function checked(target) {
    if (target.startsWith(partitionTarget(''))) {
        partitionOf(target.slice(partitionTarget('').length));
    }
    return target;
}

// countersOf returns what is counted at a target.
function countersOf(target) {
    switch (target) {
    case EVERYTHING: return hub.connections;
    case MANAGEMENT: return hub.requests;
    case PARTITIONS: throw new Error('nothing is counted for all partitions together');
    default: return partitionOf(target.slice(partitionTarget('').length)).counters;
    }
}

// operations are the commands. What they return, at once or later, is the answer.
const operations = {
    append({ partition, n, properties }) {
        const chosen = partition === '' ? [...partitions.values()] : [partitionOf(partition)];
        chosen.forEach(p => p.append(n, properties));
        hub.pump();
    },
    rate({ rate: r }) {
        setRate(r);
    },
    expand({ n }) {
        if (n <= partitions.size) {
            throw new Error(`the hub has ${partitions.size} partitions`);
        }
        for (let i = partitions.size; i < n; i++) {
            partitions.set(String(i), new Partition(String(i), BigInt(options.first), 0));
        }
    },
    deny({ target, condition }) {
        hub.faults.denied.set(checked(target), condition);
    },
    allow({ target }) {
        hub.faults.denied.delete(checked(target));
    },
    hang({ target }) {
        hub.hang(checked(target));
    },
    resume({ target }) {
        hub.resume(checked(target));
    },
    steal({ partition }) {
        return hub.steal(partitionOf(partition));
    },
    drop() {
        return hub.drop();
    },
    await({ target, counter, n }) {
        return countersOf(target).reached(counter, n);
    },
    state() {
        const state = {};
        partitions.forEach(p => { state[p.id] = { ...p.counters.counts, last: p.last.toString() }; });
        return state;
    },
    time({ partition, sequence }) {
        const p = partitionOf(partition);
        const time = p.times[Number(BigInt(sequence) - p.first)];
        if (time === undefined) {
            throw new Error(`no event ${sequence} in partition ${partition}`);
        }
        return time;
    },
};

function say(value) {
    process.stdout.write(JSON.stringify(value) + '\n');
}

readline.createInterface({ input: process.stdin }).on('line', line => {
    const { id, op, ...rest } = JSON.parse(line);
    Promise.resolve().then(() => operations[op](rest)).then(result => say({ id, result }), e => say({ id, error: e.message }));
});

hub.listen(port => {
    setInterval(tick, TICK);
    say({ port });
});
