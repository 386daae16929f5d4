//! What a Parquet file says at its end: the schema, and where the columns of each row group lie.

use super::column::{CODEC_NONE, CODEC_ZSTD, DICTIONARY, PLAIN, RLE};
use super::thrift::Struct;
use super::{Bounds, Layout, Spec, Type};

/// A row group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) rows: usize,
    pub(super) chunks: Vec<Chunk>,
}

/// One column of a row group.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Where it begins.
    pub(super) offset: u64,
    /// Where its dictionary ends and its data begin; none without a dictionary.
    pub(super) data_offset: Option<u64>,
    pub(super) values: usize,
    pub(super) nulls: usize,
    /// Bytes, page headers included.
    pub(super) compressed: usize,
    pub(super) uncompressed: usize,
    pub(super) bounds: Bounds,
}

/// The footer in the making.
#[derive(Debug)]
pub(super) struct Footer {
    specs: &'static [Spec],
    pub(super) groups: Vec<Group>,
}

impl Footer {
    pub(super) const fn new(specs: &'static [Spec]) -> Self {
        Self { specs, groups: Vec::new() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut file = Struct::begin(&mut out);
        file.i32(1, 2);
        let elements: Vec<Option<Spec>> = std::iter::once(None).chain(self.specs.iter().copied().map(Some)).collect();
        file.structs(2, &elements, |element, spec| match spec {
            None => {
                element.binary(4, b"root");
                element.i32(5, self.specs.len() as i32);
            }
            Some(spec) => schema(element, *spec),
        });
        file.i64(3, self.groups.iter().map(|group| group.rows as i64).sum());
        file.structs(4, &self.groups, |out, group| {
            let bytes = group.chunks.iter().map(|chunk| chunk.uncompressed as i64).sum();
            let columns: Vec<(&Spec, &Chunk)> = self.specs.iter().zip(&group.chunks).collect();
            out.structs(1, &columns, |column, (spec, chunk)| column_chunk(column, **spec, chunk));
            out.i64(2, bytes);
            out.i64(3, group.rows as i64);
        });
        file.binary(6, b"tripline");
        // Least and greatest values are ordered as the type says.
        file.structs(7, self.specs, |order, _| order.inner(1, |_| {}));
        file.end();
        out
    }
}

fn schema(element: &mut Struct<'_>, spec: Spec) {
    element.i32(1, physical(spec.holds));
    element.i32(3, i32::from(spec.nullable));
    element.binary(4, spec.name.as_bytes());
    match spec.holds {
        Type::Text => {
            element.i32(6, 0);
            element.inner(10, |logical| logical.inner(1, |_| {}));
        }
        Type::Time => element.inner(10, |logical| {
            logical.inner(8, |timestamp| {
                timestamp.no(1);
                timestamp.inner(2, |unit| unit.inner(3, |_| {}));
            });
        }),
        Type::Bytes | Type::Int | Type::Float | Type::Flag => {}
    }
}

const fn physical(holds: Type) -> i32 {
    match holds {
        Type::Flag => 0,
        Type::Int | Type::Time => 2,
        Type::Float => 5,
        Type::Text | Type::Bytes => 6,
    }
}

fn column_chunk(column: &mut Struct<'_>, spec: Spec, chunk: &Chunk) {
    column.i64(2, chunk.offset as i64);
    column.inner(3, |meta| {
        meta.i32(1, physical(spec.holds));
        let encodings: &[i32] = if chunk.data_offset.is_some() { &[PLAIN, RLE, DICTIONARY] } else { &[PLAIN, RLE] };
        meta.i32s(2, encodings);
        meta.texts(3, spec.name);
        meta.i32(4, if spec.layout == Layout::Compressed { CODEC_ZSTD } else { CODEC_NONE });
        meta.i64(5, chunk.values as i64);
        meta.i64(6, chunk.uncompressed as i64);
        meta.i64(7, chunk.compressed as i64);
        meta.i64(9, chunk.data_offset.unwrap_or(chunk.offset) as i64);
        if chunk.data_offset.is_some() {
            meta.i64(11, chunk.offset as i64);
        }
        meta.inner(12, |statistics| {
            statistics.i64(3, chunk.nulls as i64);
            if let Some((least, greatest)) = &chunk.bounds {
                statistics.binary(5, greatest);
                statistics.binary(6, least);
            }
        });
    });
}
