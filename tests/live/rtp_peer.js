// Another end of RTP-MIDI: npm's rtpmidi. `node rtp_peer.js OWN_PORT [OTHER_PORT]` invites the other, or waits for it.
// Words on stdin: `clock BPM SECONDS` sends MIDI clock, hex digits one message. Lines on stdout: `ready`, `here`, and
// each message heard: when it came, and when it was sent by its packet, in ms of CLOCK_MONOTONIC, and its bytes.
const rtpmidi = require('rtpmidi');

rtpmidi.logger.silent = true;
const [ownPort, otherPort] = process.argv.slice(2).map(Number);
const session = rtpmidi.manager.createSession({ port: ownPort, localName: 'node', bonjourName: 'node', published: false });
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
const say = (...words) => process.stdout.write(`${words.join(' ')}\n`);
const send = (...bytes) => session.sendMessage(0, bytes);

function clock(bpm, seconds, beginMs) {
  const pulseMs = 60000 / bpm / 24;
  const last = Math.round(seconds * 1000 / pulseMs);
  say('begins', beginMs);
  let n = 0;
  const step = () => {
    // A timer of node's comes up to a millisecond late; the rest is waited for awake.
    while (nowMs() < beginMs + n * pulseMs);
    if (n === 0) send(0xfa);
    send(0xf8);
    n += 1;
    if (n < last) setTimeout(step, Math.max(0, beginMs + n * pulseMs - nowMs() - 2));
  };
  setTimeout(step, beginMs - nowMs() - 2);
}

// What it makes of a packet's time, from the same beginning as its clock.
const datedMs = (time) => (time - session.startTime) / 10 + session.startTimeHr[0] * 1e3 + session.startTimeHr[1] / 1e6;
session.on('message', (_, message, time) => say(nowMs(), datedMs(time), Buffer.from(message).toString('hex')));
session.on('streamRemoved', () => say('left'));
session.on('streamAdded', () => {
  // It sends nothing before it knows the other's clock.
  const wait = setInterval(() => {
    if (session.streams[0] && session.streams[0].latency !== null) {
      clearInterval(wait);
      say('here');
    }
  }, 20);
});
session.on('ready', () => {
  say('ready');
  if (otherPort) session.connect({ address: '127.0.0.1', port: otherPort });
});
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const words = line.split(' ');
  if (words[0] === 'clock') clock(Number(words[1]), Number(words[2]), nowMs() + 500);
  else send(...Buffer.from(words[0], 'hex'));
});
