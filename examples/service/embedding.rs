//! What texts mean, as vectors.

/// Makes vectors of texts: in a real service a call to a model. It is told the text and nothing of whose it is.
pub trait Embedder: Send + Sync {
    /// A vector, of one length for all texts.
    fn embed(&self, text: &str) -> Vec<f32>;
}

/// A small local one, the same for the same text everywhere: words are hashed into 64 directions.
pub struct Hashed;

impl Embedder for Hashed {
    fn embed(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; 64];
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()) {
            // FNV-1a.
            let hash = word
                .to_lowercase()
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                });
            vector[(hash % 64) as usize] += if hash >> 63 == 0 { 1.0 } else { -1.0 };
        }
        vector
    }
}
