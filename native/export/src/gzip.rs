//! Compression of a finished response.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::body::Payload;

/// Size of the pieces in which compressed bytes are kept.
const CHUNK_BYTES: usize = 64 * 1024;

/// The payload as one gzip member. The fastest level already takes exposition
/// text down to a tenth and less; higher ones cost several times the CPU for
/// little more.
pub(crate) fn compress(payload: &Payload) -> io::Result<Payload> {
    let mut encoder = GzEncoder::new(Chunks::default(), Compression::fast());
    for chunk in payload.chunks() {
        encoder.write_all(chunk)?;
    }
    Ok(Payload::new(encoder.finish()?.filled))
}

/// Takes bytes into pieces of a bounded size, so that none has to move when
/// more come.
#[derive(Debug, Default)]
struct Chunks {
    filled: Vec<Vec<u8>>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.filled.last_mut() {
            Some(last) if last.len() + bytes.len() <= CHUNK_BYTES => last.extend_from_slice(bytes),
            _ => self.filled.push(bytes.to_vec()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read;

    #[test]
    fn what_comes_out_is_what_went_in() {
        let chunks: Vec<Vec<u8>> = (0..50_u32)
            .map(|n| {
                (0..5_000_u32)
                    .flat_map(|m| n.wrapping_mul(m).wrapping_mul(2_654_435_761).to_be_bytes())
                    .collect()
            })
            .collect();
        let plain = chunks.concat();
        let packed = compress(&Payload::new(chunks)).unwrap();
        assert!(packed.chunks().len() > 1);
        assert!(packed.chunks().iter().all(|c| c.len() <= CHUNK_BYTES));
        let packed: Vec<u8> = packed.chunks().concat();
        let mut unpacked = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
    }
}
