import { mount } from 'svelte';
import App from './App.svelte';
import './style.css';
import { startLanguage } from './i18n/index.svelte';
import { routeOf } from './lib/route';
import { startRouter } from './router.svelte';
import { findAccount, startState } from './state.svelte';

startRouter();
startState();
const target = document.getElementById('app');
if (!target) throw new Error('the page has no #app');
// A learner who answers back has no account.
const isAppeal = routeOf(location.pathname).page === 'appeal';
void Promise.all([startLanguage(), isAppeal ? null : findAccount()]).then(() => mount(App, { target }));
