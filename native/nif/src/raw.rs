//! The VM's C interface, wrapped so that the rest of the crate is safe code.
//!
//! An [`CallEnv`] exists only while the VM is inside one of our functions, and
//! a [`RawTerm`] is a word that the VM gave us: what is done with them here is
//! sound as long as both come from the running call. The entry points in
//! `hot.rs` and the rustler functions are the only makers of them.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_uint};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use rustler::sys::{
    ErlNifBinary, ErlNifCharEncoding, ErlNifEnv, ErlNifHash, ErlNifMapIterator,
    ErlNifMapIteratorEntry, ErlNifPid, ErlNifTerm, ErlNifTermType, enif_alloc_env, enif_clear_env,
    enif_free_env, enif_get_atom, enif_get_atom_length, enif_get_double, enif_get_int64,
    enif_get_list_cell, enif_get_local_pid, enif_get_map_size, enif_get_map_value, enif_get_tuple,
    enif_get_uint64, enif_hash, enif_inspect_binary, enif_is_atom, enif_is_identical, enif_is_list,
    enif_is_number, enif_make_atom_len, enif_make_copy, enif_make_double, enif_make_int64,
    enif_make_list_from_array, enif_make_map_from_arrays, enif_make_new_binary,
    enif_make_tuple_from_array, enif_make_uint64, enif_map_iterator_create,
    enif_map_iterator_destroy, enif_map_iterator_get_pair, enif_map_iterator_next,
    enif_raise_exception, enif_release_binary, enif_self, enif_send, enif_term_to_binary,
    enif_term_type, enif_whereis_pid, get_enif_snprintf,
};

/// What the compiler of Elixir puts before the names of modules.
const ELIXIR: &str = "Elixir.";

/// The environment of the call that is going on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallEnv<'a> {
    env: *mut ErlNifEnv,
    call: PhantomData<&'a ()>,
}

/// A term, as the word that the VM uses for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct RawTerm(ErlNifTerm);

impl RawTerm {
    /// The word that is no term.
    #[allow(clippy::missing_transmute_annotations)]
    // SAFETY: `ErlNifTerm` is a transparent wrapper of a `usize`.
    pub(crate) const NONE: Self = Self(unsafe { std::mem::transmute::<usize, ErlNifTerm>(0) });

    /// The word itself.
    #[inline(always)]
    pub(crate) fn word(self) -> usize {
        // SAFETY: `ErlNifTerm` is a transparent wrapper of a `usize`.
        unsafe { std::mem::transmute::<ErlNifTerm, usize>(self.0) }
    }

    /// A term from its word: one of an immediate, or of a live term.
    #[inline(always)]
    pub(crate) fn from_word(word: usize) -> Self {
        // SAFETY: as in `word`.
        Self(unsafe { std::mem::transmute::<usize, ErlNifTerm>(word) })
    }

    #[inline(always)]
    pub(crate) const fn from_c(term: ErlNifTerm) -> Self {
        Self(term)
    }

    #[inline(always)]
    pub(crate) const fn to_c(self) -> ErlNifTerm {
        self.0
    }

    /// The integer in an immediate, told from the tag alone.
    ///
    /// Small integers carry `1111` in their lowest bits in every 64-bit VM
    /// since R14. That is no documented promise, so `small_tag_holds` asks the
    /// VM when the library is loaded, and `hot.rs` does without if it says no.
    #[inline(always)]
    #[allow(clippy::cast_possible_wrap)]
    pub(crate) fn small(self) -> Option<i64> {
        let word = self.word();
        (word & SMALL_MASK == SMALL_MASK).then_some((word as i64) >> 4)
    }

    /// Whether two terms are `=:=`.
    #[inline(always)]
    pub(crate) fn is_identical(self, other: Self) -> bool {
        // SAFETY: takes any two live terms.
        self == other || unsafe { enif_is_identical(self.0, other.0) != 0 }
    }

    pub(crate) fn hash(self, salt: u64) -> u64 {
        // SAFETY: takes any live term.
        unsafe { enif_hash(ErlNifHash::ERL_NIF_INTERNAL_HASH, self.0, salt) }
    }
}

const SMALL_MASK: usize = 0xF;
/// Most bytes of a printed term.
const PRINTED_BYTES: usize = 1_024;

/// What a term is, as far as this library makes a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TermType {
    Atom,
    Bitstring,
    Float,
    Integer,
    List,
    Map,
    Tuple,
    Other,
}

/// The arguments of a call.
///
/// # Safety
///
/// `argv` is the array of at least `N` terms that the VM passed.
#[inline(always)]
pub(crate) unsafe fn arguments<const N: usize>(argv: *const ErlNifTerm) -> [RawTerm; N] {
    // SAFETY: as the caller promises; `RawTerm` is a transparent `ErlNifTerm`.
    unsafe { argv.cast::<[RawTerm; N]>().read() }
}

impl<'a> CallEnv<'a> {
    /// # Safety
    ///
    /// `env` belongs to the NIF call that is going on and `'a` ends with it.
    #[inline(always)]
    pub(crate) unsafe fn new(env: *mut ErlNifEnv) -> Self {
        Self { env, call: PhantomData }
    }

    pub(crate) fn of(env: rustler::Env<'a>) -> Self {
        // SAFETY: a rustler environment is that of the running call.
        unsafe { Self::new(env.as_c_arg()) }
    }

    /// A term of this call for rustler.
    pub(crate) fn to_term<'b>(self, env: rustler::Env<'b>, term: RawTerm) -> rustler::Term<'b> {
        // SAFETY: term and environment are of the same call: `self` was made
        // from `env`.
        unsafe { rustler::Term::new(env, term.0) }
    }

    /// The environment, for calls that are made elsewhere.
    pub(crate) fn as_c(self) -> *mut ErlNifEnv {
        self.env
    }

    /// Whether this VM's small integers look as [`RawTerm::small`] expects.
    pub(crate) fn small_tag_holds(self) -> bool {
        const LARGEST: i64 = (1 << 59) - 1;
        let integers_match = [0, 1, -1, 255, -256, 1 << 31, -(1 << 31), LARGEST, -LARGEST - 1]
            .into_iter()
            .all(|n| self.int(n).small() == Some(n));
        let others = [
            self.int(LARGEST + 1),
            self.int(-LARGEST - 2),
            self.float(1.0),
            self.atom("ok"),
            self.binary(b"x"),
            self.list(&[]),
            self.list(&[self.int(1)]),
            self.tuple(&[self.int(1)]),
        ];
        size_of::<usize>() == 8
            && integers_match
            && others.iter().all(|term| term.small().is_none())
    }

    #[inline(always)]
    pub(crate) fn get_int(self, term: RawTerm) -> Option<i64> {
        let mut n = 0;
        // SAFETY: `n` is written only on success, and it is initialised anyway.
        (unsafe { enif_get_int64(self.env, term.0, &raw mut n) } != 0).then_some(n)
    }

    pub(crate) fn get_uint(self, term: RawTerm) -> Option<u64> {
        let mut n = 0;
        // SAFETY: as above.
        (unsafe { enif_get_uint64(self.env, term.0, &raw mut n) } != 0).then_some(n)
    }

    /// What a term is.
    #[inline]
    pub(crate) fn type_of(self, term: RawTerm) -> TermType {
        use ErlNifTermType as T;
        // SAFETY: takes any term.
        match unsafe { enif_term_type(self.env, term.0) } {
            T::ERL_NIF_TERM_TYPE_ATOM => TermType::Atom,
            T::ERL_NIF_TERM_TYPE_BITSTRING => TermType::Bitstring,
            T::ERL_NIF_TERM_TYPE_FLOAT => TermType::Float,
            T::ERL_NIF_TERM_TYPE_INTEGER => TermType::Integer,
            T::ERL_NIF_TERM_TYPE_LIST => TermType::List,
            T::ERL_NIF_TERM_TYPE_MAP => TermType::Map,
            T::ERL_NIF_TERM_TYPE_TUPLE => TermType::Tuple,
            _ => TermType::Other,
        }
    }

    /// How long a term is in the external format.
    pub(crate) fn external_size(self, term: RawTerm) -> Option<usize> {
        let mut binary = MaybeUninit::<ErlNifBinary>::uninit();
        // SAFETY: on success the structure is filled in and ours to release,
        // which is done once.
        unsafe {
            if enif_term_to_binary(self.env, term.0, binary.as_mut_ptr()) == 0 {
                return None;
            }
            let mut binary = binary.assume_init();
            let size = binary.size;
            enif_release_binary(&raw mut binary);
            Some(size)
        }
    }

    /// The elements of a tuple; none of another term.
    pub(crate) fn tuple_elements(self, term: RawTerm) -> &'a [RawTerm] {
        let mut arity: c_int = 0;
        let mut elements = std::ptr::null();
        // SAFETY: both are written only on success.
        let found = unsafe { enif_get_tuple(self.env, term.0, &raw mut arity, &raw mut elements) };
        match usize::try_from(arity) {
            // SAFETY: the VM gave a pointer to `arity` terms, which stay in
            // place during the call; `RawTerm` is a transparent `ErlNifTerm`.
            Ok(arity) if found != 0 && arity > 0 => unsafe {
                std::slice::from_raw_parts(elements.cast::<RawTerm>(), arity)
            },
            _ => &[],
        }
    }

    /// The value of a key in a map.
    pub(crate) fn get_value(self, map: RawTerm, key: RawTerm) -> Option<RawTerm> {
        let mut value = map.0;
        // SAFETY: `value` is written only on success, and initialised anyway.
        (unsafe { enif_get_map_value(self.env, map.0, key.0, &raw mut value) } != 0)
            .then_some(RawTerm(value))
    }

    /// Appends an atom, a pid or the like as the shell prints it. Of large
    /// terms all is read: `printed.rs` is for them.
    pub(crate) fn push_printed(self, term: RawTerm, out: &mut String) {
        let mut buffer = [0_u8; PRINTED_BYTES];
        // SAFETY: the buffer's size is given, and the format takes one term.
        // The precision bounds how many elements are looked at.
        let length = unsafe {
            get_enif_snprintf()(
                buffer.as_mut_ptr().cast::<c_char>(),
                buffer.len(),
                c"%.200T".as_ptr(),
                term.0,
            )
        };
        let length = usize::try_from(length).unwrap_or(0).min(buffer.len() - 1);
        out.push_str(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()));
    }

    /// The process that calls.
    pub(crate) fn self_pid(self) -> Option<LocalPid> {
        let mut pid = MaybeUninit::<ErlNifPid>::uninit();
        // SAFETY: filled in unless null is returned.
        unsafe {
            (!enif_self(self.env, pid.as_mut_ptr()).is_null()).then(|| LocalPid(pid.assume_init()))
        }
    }

    /// The elements of a tuple of `N`.
    pub(crate) fn get_tuple<const N: usize>(self, term: RawTerm) -> Option<[RawTerm; N]> {
        let mut arity: c_int = 0;
        let mut elements = std::ptr::null();
        // SAFETY: both are written only on success.
        let found = unsafe { enif_get_tuple(self.env, term.0, &raw mut arity, &raw mut elements) };
        if found == 0 || usize::try_from(arity) != Ok(N) {
            return None;
        }
        // SAFETY: the VM gave a pointer to `arity` terms, which stay in place
        // during the call.
        Some(unsafe { arguments(elements) })
    }

    pub(crate) fn get_float(self, term: RawTerm) -> Option<f64> {
        let mut x = 0.0;
        // SAFETY: as above.
        (unsafe { enif_get_double(self.env, term.0, &raw mut x) } != 0).then_some(x)
    }

    pub(crate) fn is_atom(self, term: RawTerm) -> bool {
        // SAFETY: takes any term.
        unsafe { enif_is_atom(self.env, term.0) != 0 }
    }

    pub(crate) fn is_list(self, term: RawTerm) -> bool {
        // SAFETY: takes any term.
        unsafe { enif_is_list(self.env, term.0) != 0 }
    }

    /// Whether a term is `[]`.
    pub(crate) fn is_empty_list(self, term: RawTerm) -> bool {
        self.is_list(term) && self.get_cell(term).is_none()
    }

    pub(crate) fn is_number(self, term: RawTerm) -> bool {
        // SAFETY: takes any term.
        unsafe { enif_is_number(self.env, term.0) != 0 }
    }

    /// The bytes of a binary; they live as long as the call.
    pub(crate) fn get_binary(self, term: RawTerm) -> Option<&'a [u8]> {
        let mut binary = MaybeUninit::<ErlNifBinary>::uninit();
        // SAFETY: on success the structure is filled in.
        let binary = unsafe {
            if enif_inspect_binary(self.env, term.0, binary.as_mut_ptr()) == 0 {
                return None;
            }
            binary.assume_init()
        };
        if binary.size == 0 {
            return Some(&[]);
        }
        // SAFETY: the VM keeps an inspected binary in place, unchanged, until
        // the call returns.
        Some(unsafe { std::slice::from_raw_parts(binary.data, binary.size) })
    }

    /// Appends the text of an atom, a module of Elixir without the prefix that
    /// only the VM sees: `Elixir.MyApp.Repo` as `MyApp.Repo`. `false` if it is
    /// not an atom.
    pub(crate) fn push_atom(self, term: RawTerm, out: &mut String) -> bool {
        let begin = out.len();
        let is_atom = self.push_atom_name(term, out);
        if let Some(module) = out.get(begin..).and_then(|name| name.strip_prefix(ELIXIR))
            && module.starts_with(|c: char| c.is_ascii_uppercase())
        {
            out.replace_range(begin..begin + ELIXIR.len(), "");
        }
        is_atom
    }

    /// Appends the text of an atom as the VM has it. `false` if it is not an
    /// atom.
    pub(crate) fn push_atom_name(self, term: RawTerm, out: &mut String) -> bool {
        let mut length: c_uint = 0;
        let encoding = ErlNifCharEncoding::ERL_NIF_LATIN1;
        // SAFETY: `length` is initialised; the call takes any term.
        if unsafe { enif_get_atom_length(self.env, term.0, &raw mut length, encoding) } == 0 {
            return self.push_wide_atom(term, out);
        }
        let mut buffer = [0_u8; 256];
        // SAFETY: the buffer has room for 255 characters and the final zero,
        // and the VM is told so.
        let written = unsafe {
            enif_get_atom(self.env, term.0, buffer.as_mut_ptr().cast::<c_char>(), 256, encoding)
        };
        let Some(text) =
            usize::try_from(written).ok().and_then(|n| buffer.get(..n.checked_sub(1)?))
        else {
            return false;
        };
        out.extend(text.iter().map(|b| char::from(*b)));
        true
    }

    /// An atom with characters beyond Latin-1: NIF 2.16 reads those only in
    /// the external term format.
    fn push_wide_atom(self, term: RawTerm, out: &mut String) -> bool {
        const VERSION: u8 = 131;
        const ATOM_UTF8: u8 = 118;
        const SMALL_ATOM_UTF8: u8 = 119;
        if !self.is_atom(term) {
            return false;
        }
        let mut binary = MaybeUninit::<ErlNifBinary>::uninit();
        // SAFETY: on success the structure is filled in and ours to release.
        let mut binary = unsafe {
            if enif_term_to_binary(self.env, term.0, binary.as_mut_ptr()) == 0 {
                return false;
            }
            binary.assume_init()
        };
        // SAFETY: data and size are those of the allocated binary.
        let bytes = unsafe { std::slice::from_raw_parts(binary.data, binary.size) };
        let text = match bytes {
            [VERSION, SMALL_ATOM_UTF8, _, text @ ..] | [VERSION, ATOM_UTF8, _, _, text @ ..] => {
                std::str::from_utf8(text).ok()
            }
            _ => None,
        };
        let found = text.map(|text| out.push_str(text)).is_some();
        // SAFETY: allocated above, released once, not used after.
        unsafe { enif_release_binary(&raw mut binary) };
        found
    }

    /// Head and tail of a list cell.
    pub(crate) fn get_cell(self, term: RawTerm) -> Option<(RawTerm, RawTerm)> {
        let mut head = term.0;
        let mut tail = term.0;
        // SAFETY: both are written only on success, and initialised anyway.
        (unsafe { enif_get_list_cell(self.env, term.0, &raw mut head, &raw mut tail) } != 0)
            .then_some((RawTerm(head), RawTerm(tail)))
    }

    pub(crate) fn map_size(self, term: RawTerm) -> Option<usize> {
        let mut size = 0;
        // SAFETY: `size` is initialised.
        (unsafe { enif_get_map_size(self.env, term.0, &raw mut size) } != 0).then_some(size)
    }

    /// Calls `visit` with each pair of a map until it says stop; `false` if
    /// the term is no map.
    pub(crate) fn each_pair(
        self,
        map: RawTerm,
        mut visit: impl FnMut(RawTerm, RawTerm) -> bool,
    ) -> bool {
        let mut iterator = MaybeUninit::<ErlNifMapIterator>::uninit();
        let iterator = iterator.as_mut_ptr();
        let head = ErlNifMapIteratorEntry::ERL_NIF_MAP_ITERATOR_HEAD;
        // SAFETY: on success the iterator is filled in; it is destroyed below.
        if unsafe { enif_map_iterator_create(self.env, map.0, iterator, head) } == 0 {
            return false;
        }
        let mut key = map.0;
        let mut value = map.0;
        // SAFETY: the iterator is alive; both words are initialised.
        while unsafe {
            enif_map_iterator_get_pair(self.env, iterator, &raw mut key, &raw mut value)
        } != 0
        {
            if !visit(RawTerm(key), RawTerm(value)) {
                break;
            }
            // SAFETY: the iterator is alive.
            unsafe { enif_map_iterator_next(self.env, iterator) };
        }
        // SAFETY: created above, destroyed once.
        unsafe { enif_map_iterator_destroy(self.env, iterator) };
        true
    }

    pub(crate) fn atom(self, name: &str) -> RawTerm {
        // SAFETY: pointer and length are those of the text.
        RawTerm(unsafe { enif_make_atom_len(self.env, name.as_ptr().cast::<c_char>(), name.len()) })
    }

    pub(crate) fn int(self, n: i64) -> RawTerm {
        // SAFETY: takes any integer.
        RawTerm(unsafe { enif_make_int64(self.env, n) })
    }

    pub(crate) fn uint(self, n: u64) -> RawTerm {
        // SAFETY: takes any integer.
        RawTerm(unsafe { enif_make_uint64(self.env, n) })
    }

    /// A float, or the atoms `infinity`, `'-infinity'` and `nan`, which stand
    /// for what Erlang's floats cannot be.
    pub(crate) fn float(self, x: f64) -> RawTerm {
        if x.is_finite() {
            // SAFETY: takes any finite float.
            RawTerm(unsafe { enif_make_double(self.env, x) })
        } else if x.is_nan() {
            self.atom("nan")
        } else {
            self.atom(if x > 0.0 { "infinity" } else { "-infinity" })
        }
    }

    pub(crate) fn binary(self, bytes: &[u8]) -> RawTerm {
        let mut term = MaybeUninit::<ErlNifTerm>::uninit();
        // SAFETY: the VM returns room for `bytes.len()` bytes, which do not
        // overlap ours, and fills in the term.
        unsafe {
            let room = enif_make_new_binary(self.env, bytes.len(), term.as_mut_ptr());
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), room, bytes.len());
            RawTerm(term.assume_init())
        }
    }

    pub(crate) fn tuple(self, elements: &[RawTerm]) -> RawTerm {
        let count = c_uint::try_from(elements.len()).unwrap_or(0);
        // SAFETY: pointer and count are those of the slice.
        RawTerm(unsafe { enif_make_tuple_from_array(self.env, elements.as_ptr().cast(), count) })
    }

    pub(crate) fn list(self, elements: &[RawTerm]) -> RawTerm {
        let count = c_uint::try_from(elements.len()).unwrap_or(0);
        // SAFETY: pointer and count are those of the slice.
        RawTerm(unsafe { enif_make_list_from_array(self.env, elements.as_ptr().cast(), count) })
    }

    /// A map of distinct keys; nothing if a key comes twice.
    pub(crate) fn map(self, keys: &[RawTerm], values: &[RawTerm]) -> Option<RawTerm> {
        let count = keys.len().min(values.len());
        let mut map = MaybeUninit::<ErlNifTerm>::uninit();
        // SAFETY: both arrays have `count` elements; the map is filled in on
        // success.
        unsafe {
            let made: c_int = enif_make_map_from_arrays(
                self.env,
                keys.as_ptr().cast(),
                values.as_ptr().cast(),
                count,
                map.as_mut_ptr(),
            );
            (made != 0).then(|| RawTerm(map.assume_init()))
        }
    }

    pub(crate) fn get_pid(self, term: RawTerm) -> Option<LocalPid> {
        let mut pid = MaybeUninit::<ErlNifPid>::uninit();
        // SAFETY: filled in on success.
        unsafe {
            (enif_get_local_pid(self.env, term.0, pid.as_mut_ptr()) != 0)
                .then(|| LocalPid(pid.assume_init()))
        }
    }

    /// The process registered under an atom.
    pub(crate) fn whereis(self, name: RawTerm) -> Option<LocalPid> {
        let mut pid = MaybeUninit::<ErlNifPid>::uninit();
        // SAFETY: filled in on success.
        unsafe {
            (enif_whereis_pid(self.env, name.0, pid.as_mut_ptr()) != 0)
                .then(|| LocalPid(pid.assume_init()))
        }
    }

    /// Sends from within a call, on a scheduler thread.
    pub(crate) fn send(self, to: LocalPid, message: RawTerm) {
        // SAFETY: the message belongs to the calling environment, which is
        // what a null message environment says.
        unsafe { enif_send(self.env, &raw const to.0, std::ptr::null_mut(), message.0) };
    }

    /// Makes the call end with an error of class `error`.
    pub(crate) fn raise(self, reason: RawTerm) -> RawTerm {
        // SAFETY: the result is returned from the call at once.
        RawTerm(unsafe { enif_raise_exception(self.env, reason.0) })
    }
}

/// A process of this node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalPid(ErlNifPid);

impl LocalPid {
    pub(crate) fn as_c(&self) -> &ErlNifPid {
        &self.0
    }

    /// The process as a number; it names it as long as it lives.
    pub(crate) fn word(self) -> u64 {
        // SAFETY: `ErlNifPid` is one word, an immediate term.
        unsafe { std::mem::transmute::<ErlNifPid, usize>(self.0) as u64 }
    }

    /// The term of a process that [`LocalPid::word`] gave the number of.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn term_of_word(word: u64) -> RawTerm {
        RawTerm::from_word(word as usize)
    }
}

/// Terms that outlive the call, until they are all cleared at once.
#[derive(Debug)]
pub(crate) struct TermStore {
    env: *mut ErlNifEnv,
}

impl Drop for TermStore {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody has terms of it once the store is gone.
        unsafe { enif_free_env(self.env) };
    }
}

impl TermStore {
    pub(crate) fn new() -> Self {
        // SAFETY: the environment is owned by this store.
        Self { env: unsafe { enif_alloc_env() } }
    }

    /// The store as an environment in which terms are made.
    pub(crate) fn env(&mut self) -> CallEnv<'_> {
        // SAFETY: borrowed mutably, so nobody clears it meanwhile.
        unsafe { CallEnv::new(self.env) }
    }

    pub(crate) fn copy(&mut self, term: RawTerm) -> RawTerm {
        // SAFETY: copies any live term into an environment that we own.
        RawTerm(unsafe { enif_make_copy(self.env, term.0) })
    }

    /// Ends every term of the store: the caller forgets them all.
    pub(crate) fn clear(&mut self) {
        // SAFETY: the environment is ours and process-independent.
        unsafe { enif_clear_env(self.env) };
    }

    /// Sends a term of this store from a thread that is not the VM's, and
    /// clears the store. `false` if the process is gone.
    pub(crate) fn send_from_outside(&mut self, to: LocalPid, message: RawTerm) -> bool {
        // SAFETY: no calling environment, as the thread is not the VM's; the
        // message's environment is ours and is invalidated by the call, hence
        // cleared after.
        let sent = unsafe { enif_send(std::ptr::null_mut(), &raw const to.0, self.env, message.0) };
        self.clear();
        sent != 0
    }
}

// SAFETY: a process-independent environment may be used from any thread, by
// one at a time; the store is not `Sync`.
unsafe impl Send for TermStore {}
