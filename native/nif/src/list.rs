//! Lists as arguments. `Vec<T>` panics on `[1 | 2]`, which anybody can write.

use std::ops::Deref;

use rustler::{Decoder, Error, NifResult, Term};

/// The elements of a list that ends as a list does.
#[derive(Debug)]
pub(crate) struct ProperList<T>(Vec<T>);

impl<'a, T: Decoder<'a>> Decoder<'a> for ProperList<T> {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        // Walks to the end, and refuses what is not a list there.
        term.list_length().map_err(|_| Error::BadArg)?;
        term.decode().map(Self)
    }
}

impl<T> Deref for ProperList<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}
