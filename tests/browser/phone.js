/* SPDX-License-Identifier: MIT */
/* A phone in a page: JsSIP, with a made-up microphone. What happens is told through tell(), which the
 * driver binds, in the words of the other phone of the tests (CALL_INCOMING, CALL_ESTABLISHED, ...). */
import JsSIP from 'jssip';

let ua, call, sound, address;

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
    session.on('sdp', (e) => { e.sdp = e.originator === 'remote' ? towardsBrowser(e.sdp) : towardsPhone(e.sdp); });
    for (const wrong of ['getusermediafailed', 'peerconnection:createofferfailed', 'peerconnection:createanswerfailed',
        'peerconnection:setlocaldescriptionfailed', 'peerconnection:setremotedescriptionfailed'])
        session.on(wrong, (e) => say('WRONG', `${wrong}: ${e}`));
}

// A phone without ICE is given some, that of nobody: the browser then takes its description, and the
// signalling is as it would be. Sound does not come this way.
function towardsBrowser(sdp) {
    if (sdp.includes('a=ice-ufrag:'))
        return sdp;
    return sdp.replace(/^m=.*\r\n/gm, '$&a=ice-ufrag:none\r\na=ice-pwd:nonenonenonenonenonenone\r\n');
}

// A phone without ICE looks at the address of the description, for its family at least.
function towardsPhone(sdp) {
    const family = address.includes(':') ? 'IP6' : 'IP4';
    return sdp.replace(/^(o=.*|c=)IN IP[46] .*\r$/gm, `$1IN ${family} ${address}\r`);
}

// A tone instead of a microphone: no device is needed.
async function tone(hz) {
    const context = new AudioContext();
    const source = new OscillatorNode(context, { frequency: hz });
    const out = context.createMediaStreamDestination();
    source.connect(out);
    source.start();
    return out.stream;
}

const media = () => ({ mediaStream: sound, pcConfig: { iceServers: [] } });

window.phone = {
    async start({ socket, user, password, domain, hz, trace }) {
        address = new URL(socket).hostname.replace(/[\[\]]/g, '');
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
    isRegistered: () => ua.isRegistered(),
    stop() {
        ua.stop();
    },
};
