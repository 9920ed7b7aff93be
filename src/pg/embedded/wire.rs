//! The little of PostgreSQL's frontend/backend protocol that the socket of an embedded instance must understand.
//!
//! Owns the packets before a session starts, the cutting of the byte stream into messages, and error responses.
//! What the messages mean is the backend's business. See "Frontend/Backend Protocol" in PostgreSQL's manual.

use std::io::{self, Read, Write};

const PROTOCOL_3: u32 = 3 << 16;
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
/// PostgreSQL's own bound (`MAX_STARTUP_PACKET_LENGTH`).
const LONGEST_STARTUP: usize = 10_000;
/// PostgreSQL's own bound on a message (`PQ_LARGE_MESSAGE_LIMIT`).
const LONGEST_MESSAGE: usize = 0x3fff_ffff;

/// A startup message: the whole packet, length included.
#[derive(Debug)]
pub(super) struct Startup(pub(super) Vec<u8>);

impl Startup {
    /// The value of a parameter such as `user`.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let mut texts = self.0.get(8..)?.split(|&byte| byte == 0);
        while let (Some(key), Some(value)) = (texts.next(), texts.next()) {
            if key == name.as_bytes() {
                return Some(String::from_utf8_lossy(value).into_owned());
            }
        }
        None
    }
}

/// Answers what precedes a session. `None` when the client wanted no session: it left, or asked to cancel.
pub(super) fn greet(stream: &mut (impl Read + Write)) -> io::Result<Option<Startup>> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let size = u32::from_be_bytes(length) as usize;
        if !(8..=LONGEST_STARTUP).contains(&size) {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mut packet = length.to_vec();
        packet.resize(size, 0);
        stream.read_exact(&mut packet[4..])?;
        match u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]) {
            SSL_REQUEST | GSSENC_REQUEST => stream.write_all(b"N")?,
            CANCEL_REQUEST => return Ok(None),
            code if code >= PROTOCOL_3 => return Ok(Some(Startup(packet))),
            _ => return Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }
}

/// What a client sends in one go, up to where it waits for an answer.
#[derive(Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// How much of `bytes` is complete messages looked at already.
    seen: usize,
}

/// The next thing to do with a client.
pub(super) enum Step {
    /// Messages that want an answer.
    Send(Vec<u8>),
    /// The client said goodbye.
    Terminate,
    /// More bytes are needed.
    Read,
}

impl Inbox {
    /// Waits for bytes of the client; false once it has hung up.
    pub(super) fn read(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        let mut chunk = [0; 64 * 1024];
        let size = stream.read(&mut chunk)?;
        self.bytes.extend_from_slice(&chunk[..size]);
        Ok(size > 0)
    }

    /// Cuts off the messages up to the first after which the client may wait.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        while let Some(header) = self.bytes.get(self.seen..self.seen + 5) {
            let kind = header[0];
            let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
            if !(4..=LONGEST_MESSAGE).contains(&length) {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            if kind == b'X' {
                return Ok(Step::Terminate);
            }
            if self.bytes.len() < self.seen + 1 + length {
                break;
            }
            self.seen += 1 + length;
            // Query, Sync, Flush, FunctionCall, and the three of COPY.
            if matches!(kind, b'Q' | b'S' | b'H' | b'F' | b'd' | b'c' | b'f') {
                let rest = self.bytes.split_off(self.seen);
                self.seen = 0;
                return Ok(Step::Send(std::mem::replace(&mut self.bytes, rest)));
            }
        }
        Ok(Step::Read)
    }

    /// Hands over what was read but not yet cut off.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.seen = 0;
        std::mem::take(&mut self.bytes)
    }
}

/// Looks at what the backend sends, in whatever pieces it comes, for errors.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The kind and length of the message at hand, as far as they have come.
    header: Vec<u8>,
    /// How much of its body is still to come.
    rest: usize,
    /// The body, if it is an error's.
    error: Vec<u8>,
}

impl Watch {
    /// The SQLSTATE of each ErrorResponse that the bytes complete.
    pub(super) fn errors(&mut self, mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut codes = Vec::new();
        loop {
            if self.rest == 0 {
                let missing = (5 - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..missing]);
                bytes = &bytes[missing..];
                let [_, length @ ..] = self.header.as_slice() else {
                    return codes;
                };
                let Ok(length) = <[u8; 4]>::try_from(length) else {
                    return codes;
                };
                self.rest = (u32::from_be_bytes(length) as usize).saturating_sub(4);
            }
            let (body, after) = bytes.split_at(self.rest.min(bytes.len()));
            bytes = after;
            self.rest -= body.len();
            let is_error = self.header[0] == b'E';
            if is_error {
                self.error.extend_from_slice(body);
            }
            if self.rest > 0 {
                return codes;
            }
            self.header.clear();
            if is_error {
                let mut fields = self.error.split(|&byte| byte == 0);
                codes.push(
                    fields
                        .find_map(|field| field.strip_prefix(b"C"))
                        .unwrap_or_default()
                        .to_vec(),
                );
                self.error.clear();
            }
        }
    }
}

/// An ErrorResponse of severity FATAL.
pub(super) fn fatal(code: &str, message: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    for (kind, text) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', code), (b'M', message)] {
        fields.push(kind);
        fields.extend(text.bytes().filter(|&byte| byte != 0));
        fields.push(0);
    }
    fields.push(0);
    let mut response = vec![b'E'];
    response.extend((fields.len() as u32 + 4).to_be_bytes());
    response.extend(fields);
    response
}

/// A Query message.
pub(super) fn query(sql: &str) -> Vec<u8> {
    let mut message = vec![b'Q'];
    message.extend((sql.len() as u32 + 5).to_be_bytes());
    message.extend(sql.bytes());
    message.push(0);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(inbox: &mut Inbox) -> Vec<usize> {
        let mut sizes = Vec::new();
        while let Step::Send(messages) = inbox.step().expect("valid messages") {
            sizes.push(messages.len());
        }
        sizes
    }

    #[test]
    fn messages_are_held_until_the_client_waits() {
        let mut inbox = Inbox::default();
        let parse = [b"P".as_slice(), &8u32.to_be_bytes(), &[0; 4]].concat();
        let sync = [b"S".as_slice(), &4u32.to_be_bytes()].concat();
        let all = [parse.clone(), sync.clone(), query("select 1"), parse.clone()].concat();
        for byte in &all {
            assert!(inbox.read(&mut [*byte].as_slice()).expect("reads"));
        }
        assert_eq!(steps(&mut inbox), [parse.len() + sync.len(), query("select 1").len()]);
        assert_eq!(inbox.take(), parse);
    }

    #[test]
    fn a_length_beyond_the_protocol_is_refused() {
        let mut inbox = Inbox::default();
        inbox
            .read(&mut [b'Q', 0xff, 0xff, 0xff, 0xff].as_slice())
            .expect("reads");
        assert!(inbox.step().is_err());
    }

    #[test]
    fn errors_are_seen_across_any_cut() {
        let bytes = [fatal("54001", "C42501"), query("nothing"), fatal("42501", "no")].concat();
        for cut in 0..=bytes.len() {
            let mut watch = Watch::default();
            let seen = [watch.errors(&bytes[..cut]), watch.errors(&bytes[cut..])].concat();
            assert_eq!(seen, [b"54001", b"42501"], "cut at {cut}");
        }
    }

    #[test]
    fn startup_parameters_are_found_by_name() {
        let startup = Startup([&[0; 8], b"user\0alice\0database\0d\0\0".as_slice()].concat());
        assert_eq!(startup.parameter("database").as_deref(), Some("d"));
        assert_eq!(startup.parameter("options"), None);
    }
}
