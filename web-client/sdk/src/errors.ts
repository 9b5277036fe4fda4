/** What went wrong, for programs. */
export type ProctorErrorCode =
  /** an option is missing or wrong; `field` names it */
  | 'bad_option'
  /** `attach` was given nothing that has a video */
  | 'bad_player'
  /** a method was called when it cannot be, as `start` twice */
  | 'wrong_order'
  /** this browser lacks something that nothing can stand in for */
  | 'unsupported'
  /** `getToken` failed or gave something else than a session and a token */
  | 'token_failed'
  /** the server will not have this page; `field` holds its code (docs/protocol.md, section 9) */
  | 'refused'
  /** the camera cannot be had; `field` holds the problem */
  | 'camera';

/** An error of this library. `message` says what to do about it. */
export class ProctorError extends Error {
  override readonly name = 'ProctorError';

  constructor(
    /** what went wrong */
    readonly code: ProctorErrorCode,
    message: string,
    /** the option, server code or camera problem that it is about */
    readonly field: string | null = null,
  ) {
    super(message);
  }
}
