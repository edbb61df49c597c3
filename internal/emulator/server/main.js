'use strict';

// An Event Hubs emulator for tests. Its only argument is {"hub", "partitions", "events", "first", "rate"} in JSON.
// It prints {"port"} when it listens, and then answers the JSON lines on stdin, {"id", "op", …}, each with a line that
// has the same id. It ends with stdin.

const readline = require('readline');
const { Hub } = require('./hub.js');
const { Partition } = require('./partition.js');

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

const operations = {
    append({ partition, n }) {
        const chosen = partition === '' ? [...partitions.values()] : [partitions.get(partition)];
        if (chosen.includes(undefined)) {
            throw new Error(`no partition ${partition}`);
        }
        chosen.forEach(p => p.append(n));
        hub.pump();
    },
    rate({ rate: r }) {
        setRate(r);
    },
    state() {
        const state = {};
        partitions.forEach(p => { state[p.id] = { ...p.stats, last: p.last.toString() }; });
        return state;
    },
};

function say(value) {
    process.stdout.write(JSON.stringify(value) + '\n');
}

readline.createInterface({ input: process.stdin }).on('line', line => {
    const command = JSON.parse(line);
    try {
        say({ id: command.id, result: operations[command.op](command) });
    } catch (e) {
        say({ id: command.id, error: e.message });
    }
});

hub.listen(port => {
    setInterval(tick, TICK);
    say({ port });
});
