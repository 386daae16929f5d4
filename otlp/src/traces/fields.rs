//! The fields of one protobuf message, read one after the other from its bytes: nothing is copied, nothing allocated.
//!
//! Accepts what prost accepts: varints of at most ten bytes, fields in any order, unknown ones skipped, groups skipped
//! whole. Where bytes are malformed, the error holds the address of the byte, which the outermost caller turns into a position.

/// Levels of groups within one another, as prost has them.
const MAX_GROUPS: usize = 100;

/// Bytes are no protobuf; the address of the first that is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(usize);

impl Malformed {
    /// Where it is within `bytes`, which the bytes at fault were a part of.
    pub(super) fn position(self, bytes: &[u8]) -> usize {
        self.0.saturating_sub(bytes.as_ptr() as usize).min(bytes.len())
    }

    /// Something is wrong with the whole of `part`.
    pub(super) fn at(part: &[u8]) -> Self {
        Self(part.as_ptr() as usize)
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Delimited(&'a [u8]),
    Group,
}

/// A reader of the fields of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Bytes not read yet.
    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next field and its number; none at the end. A fifth of the walk's time went to passing its result through memory when it
    /// was a call.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let here = Malformed::at(self.rest);
        let tag = self.varint()?;
        let number = u32::try_from(tag).map_err(|_| here)? >> 3;
        if number == 0 {
            return Err(here);
        }
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(self.fixed64()?),
            2 => Field::Delimited(self.delimited()?),
            3 => self.skip_group(number)?,
            5 => {
                self.take(4)?;
                Field::Fixed32
            }
            _ => return Err(here),
        };
        Ok(Some((number, field)))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if index == 9 && *byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(number);
            }
        }
        Err(Malformed::at(self.rest))
    }

    #[inline]
    fn fixed64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.take(8)?;
        let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| Malformed::at(bytes))?;
        Ok(u64::from_le_bytes(bytes))
    }

    #[inline]
    fn delimited(&mut self) -> Result<&'a [u8], Malformed> {
        let here = Malformed::at(self.rest);
        let length = usize::try_from(self.varint()?).map_err(|_| here)?;
        self.take(length)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::at(self.rest))?;
        self.rest = rest;
        Ok(taken)
    }

    #[cold]
    fn skip_group(&mut self, number: u32) -> Result<Field<'a>, Malformed> {
        let mut open = vec![number];
        while let Some(innermost) = open.last().copied() {
            let here = Malformed::at(self.rest);
            let tag = self.varint()?;
            let number = u32::try_from(tag).map_err(|_| here)? >> 3;
            match tag & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => drop(self.delimited()?),
                3 if open.len() < MAX_GROUPS => open.push(number),
                4 if number == innermost => drop(open.pop()),
                5 => drop(self.take(4)?),
                _ => return Err(here),
            }
        }
        Ok(Field::Group)
    }
}

impl<'a> Field<'a> {
    /// The bytes of a text, of bytes or of a message.
    #[inline]
    pub(super) fn bytes(self, within: &[u8]) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Delimited(bytes) => Ok(bytes),
            _ => Err(Malformed::at(within)),
        }
    }

    /// A number written as varint.
    #[inline]
    pub(super) fn varint(self, within: &[u8]) -> Result<u64, Malformed> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err(Malformed::at(within)),
        }
    }

    /// A number of eight bytes.
    #[inline]
    pub(super) fn fixed64(self, within: &[u8]) -> Result<u64, Malformed> {
        match self {
            Self::Fixed64(number) => Ok(number),
            _ => Err(Malformed::at(within)),
        }
    }
}
