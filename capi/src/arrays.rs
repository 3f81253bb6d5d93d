//! Arrays of the caller, with their length in and out.

use crate::status::{Failed, TagwaveStatus};

/// Array of the caller.
pub(crate) struct OutArray {
    name: &'static str,
    data: *mut f32,
    length: *mut usize,
}

impl OutArray {
    fn new(name: &'static str, data: *mut f32, length: *mut usize) -> OutArray {
        OutArray { name, data, length }
    }

    /// Tells the number of values and checks that there is room for them.
    ///
    /// # Safety
    /// `length` is null or valid.
    unsafe fn check(&self, count: usize) -> Result<(), Failed> {
        if self.length.is_null() {
            return if self.data.is_null() {
                Ok(())
            } else {
                Err(Failed::argument(format!("the length of {} is null", self.name)))
            };
        }
        // SAFETY: it is not null, and valid by the caller's promise.
        let room = unsafe { std::mem::replace(&mut *self.length, count) };
        if !self.data.is_null() && room < count {
            let message = format!("{} has room for {room} values, expected {count}", self.name);
            return Err(Failed { status: TagwaveStatus::Buffer, message });
        }
        Ok(())
    }
}

/// Arrays for the scores and the embedding of a result.
pub(crate) fn result_arrays(
    scores: *mut f32,
    score_count: *mut usize,
    embedding: *mut f32,
    embedding_count: *mut usize,
) -> [OutArray; 2] {
    [OutArray::new("scores", scores, score_count), OutArray::new("embedding", embedding, embedding_count)]
}

/// Writes rows of values to arrays, all or none of them.
///
/// # Safety
/// `data` of each array is null or valid for as many values as its length states, and its length is null or valid.
pub(crate) unsafe fn write_all(arrays: &[(OutArray, &[f32])]) -> Result<TagwaveStatus, Failed> {
    let mut outcome = Ok(TagwaveStatus::Ok);
    for (array, values) in arrays {
        // SAFETY: the caller's promise.
        outcome = outcome.and(unsafe { array.check(values.len()) }.map(|()| TagwaveStatus::Ok));
    }
    if outcome.is_ok() {
        for (array, values) in arrays.iter().filter(|(array, _)| !array.data.is_null()) {
            // SAFETY: there is room, as was checked, and the caller's array is none of ours.
            unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), array.data, values.len()) };
        }
    }
    outcome
}
