/** An object of JSON whose fields are not known yet. */
export type FieldMap = Record<string, unknown>;
