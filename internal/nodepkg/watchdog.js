'use strict';

// Preloaded into every Node process that the tests start. The Go process holds the other end of stdin and never
// closes it while it lives, so the end of stdin means that it stopped this process or is gone itself.
const exit = () => process.exit(0);
process.stdin.on('end', exit);
process.stdin.on('close', exit);
process.stdin.on('error', exit);
process.stdin.resume();
