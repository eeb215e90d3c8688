/* SPDX-License-Identifier: MIT */
/* A phone in a page: JsSIP, with a made-up microphone. What happens is told through tell(), which the
 * driver binds, in the words of the other phone of the tests (CALL_INCOMING, CALL_ESTABLISHED, ...). */
import JsSIP from 'jssip';

let ua, call, sound;

function say(type, param) {
    window.tell(JSON.stringify({ type, param: String(param ?? '') }));
}

function watch(session) {
    call = session;
    session.on('progress', (e) => e.originator === 'remote' && say('CALL_RINGING', e.response.status_code));
    session.on('accepted', (e) => say('CALL_ACCEPTED', e.originator));
    session.on('confirmed', (e) => say('CALL_ESTABLISHED', e.originator));
    session.on('ended', (e) => say('CALL_CLOSED', `${e.originator}: ${e.cause}`));
    session.on('failed', (e) => say('CALL_CLOSED', `${e.originator}: ${e.cause} ${e.message?.status_code ?? ''}`));
    heard = [];
    note(session);
    if (session.connection)
        hear(session.connection);
    else
        session.on('peerconnection', (e) => hear(e.peerconnection));
    for (const over of ['ended', 'failed'])
        session.on(over, () => listening?.suspend());
    for (const wrong of ['getusermediafailed', 'peerconnection:createofferfailed', 'peerconnection:createanswerfailed',
        'peerconnection:setlocaldescriptionfailed', 'peerconnection:setremotedescriptionfailed'])
        session.on(wrong, (e) => say('WRONG', `${wrong}: ${e}`));
}

// What comes from the other side, as numbers, of the last RECORDED seconds.
const RATE = 16000, RECORDED = 4, BLOCK = 8192;
let heard = [], listening;

// How it came, each second, for the log of a test that fails: of the last call.
let came = [];
const wanted = ['packetsReceived', 'packetsLost', 'packetsDiscarded', 'totalSamplesReceived', 'concealedSamples',
    'silentConcealedSamples', 'jitterBufferEmittedCount', 'totalAudioEnergy', 'ssrc', 'codecId'];

function note(session) {
    const began = Date.now();
    came = [];
    const timer = setInterval(async () => {
        const stats = await session.connection?.getStats();
        for (const s of stats?.values() ?? []) {
            if (s.type === 'inbound-rtp')
                came.push([Date.now() - began, heard.length, listening?.state, listening?.currentTime,
                    ...wanted.map((name) => s[name])].join(' '));
        }
    }, 1000);
    for (const over of ['ended', 'failed'])
        session.on(over, () => clearInterval(timer));
}

async function listen(stream) {
    const player = new Audio(); // without one that plays it, a stream from afar is silent
    player.muted = true;
    player.srcObject = stream;
    await player.play();
    if (listening)
        listening.close();
    const context = listening = new AudioContext({ sampleRate: RATE, latencyHint: 'playback' });
    const ear = context.createScriptProcessor(BLOCK, 1, 1);
    ear.onaudioprocess = (e) => {
        heard.push(Int16Array.from(e.inputBuffer.getChannelData(0), (v) => Math.max(-1, Math.min(1, v)) * 32767));
        if (heard.length > RATE * RECORDED / BLOCK)
            heard.shift();
    };
    context.createMediaStreamSource(stream).connect(ear);
    ear.connect(context.destination);
}

function hear(connection) {
    connection.addEventListener('track', (e) => listen(new MediaStream([e.track])).catch((x) => say('WRONG', x)));
}

// A tone instead of a microphone: no device is needed.
async function tone(hz) {
    const context = new AudioContext({ latencyHint: 'playback' });
    const source = new OscillatorNode(context, { frequency: hz });
    const out = context.createMediaStreamDestination();
    source.connect(out);
    source.start();
    return out.stream;
}

let iceServers = [];
const media = () => ({ mediaStream: sound, pcConfig: { iceServers } });

window.phone = {
    async start({ socket, user, password, domain, hz, servers, trace }) {
        iceServers = servers ?? [];
        sound = await tone(hz);
        if (trace)
            JsSIP.debug.enable('JsSIP:*');
        ua = new JsSIP.UA({
            sockets: [new JsSIP.WebSocketInterface(socket)], uri: `sip:${user}@${domain}`, password,
            register_expires: 300, session_timers: false,
        });
        ua.on('disconnected', (e) => say('DISCONNECTED', `${e.code ?? ''} ${e.reason ?? ''}`));
        ua.on('registered', () => say('REGISTER_OK'));
        ua.on('registrationFailed', (e) => say('REGISTER_FAIL', `${e.cause} ${e.response?.status_code ?? ''}`));
        ua.on('newRTCSession', (e) => {
            if (e.originator === 'local')
                return; // watched from dial() on
            watch(e.session);
            say('CALL_INCOMING', e.request.from.uri);
        });
        ua.start();
    },
    dial(uri) {
        watch(ua.call(uri, media()));
    },
    answer() {
        call.answer(media());
    },
    hangUp() {
        call.terminate();
    },
    // A re-INVITE with other ICE credentials.
    restart() {
        call.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, () => say('RESTARTED'));
    },
    // [ours, the other side's, the state of the way between them, addresses that were offered]
    ice: () => [
        ...[call.connection.currentLocalDescription, call.connection.currentRemoteDescription]
            .map((d) => d.sdp.match(/^a=ice-ufrag:(.*)$/m)[1].trim()),
        call.connection.iceConnectionState,
        [...call.connection.localDescription.sdp.matchAll(/^a=candidate:(?:\S+ ){4}(\S+)/mg)].map((m) => m[1]),
    ],
    forget() {
        heard = [];
    },
    recorded: () => ({ rate: RATE, values: heard.flatMap((part) => Array.from(part)) }),
    came: () => came,
    isRegistered: () => ua.isRegistered(),
    stop() {
        ua.stop();
    },
};
